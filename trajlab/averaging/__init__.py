"""Weights → averages: the rules, averages kept while training, averages over files."""

from trajlab.averaging.rules import (
    Averager,
    Exponential,
    Mean,
    Window,
    decay_weights,
    ema,
    lawa,
    merge,
    merging_weights,
    swa,
)
from trajlab.averaging.running import Rule, Running, RunningAverages

__all__ = [
    "Averager",
    "Exponential",
    "Mean",
    "Rule",
    "Running",
    "RunningAverages",
    "Window",
    "decay_weights",
    "ema",
    "lawa",
    "merge",
    "merging_weights",
    "swa",
]
