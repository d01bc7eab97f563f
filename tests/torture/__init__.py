"""Kills and faults at random moments, see docs/reliability.md."""
