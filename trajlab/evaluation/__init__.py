"""Weights × windows → losses → rows of tables."""
