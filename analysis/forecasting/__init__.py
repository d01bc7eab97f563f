"""Forecasts of the rest of a run."""
