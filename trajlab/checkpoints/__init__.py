"""Weights on disk: reading and writing them, series of checkpoints and where they come from."""
