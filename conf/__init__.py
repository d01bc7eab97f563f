"""Hydra configuration: one group per folder, one choice per file."""
