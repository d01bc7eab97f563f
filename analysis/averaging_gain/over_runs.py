"""Means over runs with their intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trajlab.analysis.statistics.intervals import t_interval


def over_seeds(frame: pd.DataFrame, value: str, by: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """Mean of ``value`` over runs with its t-based interval: ``mean``, ``ci_low``, ``ci_high``, ``n``; nan are left out.

    One run has a mean and no interval.

    >>> over_seeds(pd.DataFrame({"v": ["a", "a"], "x": [1.0, 3.0]}), "x", ["v"])[["mean", "n"]].to_numpy().tolist()
    [[2.0, 2.0]]
    """
    groups = frame.dropna(subset=[value]).groupby(list(by), dropna=False)[value]
    table = groups.agg(mean="mean", sd="std", n="count").reset_index()
    error = table["sd"] / np.sqrt(table["n"])
    table["ci_low"], table["ci_high"] = t_interval(table["mean"], error, table["n"], level)
    return table.drop(columns="sd")
