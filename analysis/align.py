"""Runs that were evaluated at other tokens, put on common ones (docs/statistics.md). Legend: K tokens of a curve."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CURVE = ("experiment", "run", "seed", "variant", "split")


def align(intervals: pd.DataFrame, tokens: Sequence[float] | None = None, *, dv: str = "loss") -> pd.DataFrame:
    """Every curve at the same ``tokens``, straight between its evaluations: a row per curve and token count.

    Columns: those that name the curve, interval (numbered from 0), tokens, ``dv`` and ``interpolation_error``, what
    the straight line may be off by there, in the unit of ``dv``: from the curvature of the evaluations around, noise
    included; 0 at an evaluation. Default tokens: those of the curve with the fewest
    evaluations inside the range that all curves cover. Nothing is extrapolated.

    Raises KeyError without ``tokens`` and ``dv``; ValueError for fewer than two evaluations, a value that isn't finite, or
    tokens that a curve does not cover, naming it.
    """
    if missing := {"tokens", dv} - set(intervals.columns):
        raise KeyError(f"no column {', '.join(sorted(missing))}: align reads table intervals")
    keys = [c for c in CURVE if c in intervals]
    curves = {}
    for label, rows in intervals.groupby(keys, dropna=False, sort=True) if keys else [((), intervals)]:
        curves[label] = rows.sort_values("tokens")[["tokens", dv]].to_numpy(float).T
    for label, (x_K, y_K) in curves.items():
        if len(x_K) < 2 or not np.isfinite(y_K).all() or (np.diff(x_K) == 0).any():
            raise ValueError(
                f"{_name(keys, label)}: a curve needs two evaluations or more, at different tokens, all finite"
            )
    grid = np.asarray(_common(list(curves.values())) if tokens is None else sorted(tokens), float)
    parts = []
    for label, (x_K, y_K) in curves.items():
        if len(grid) == 0 or grid[0] < x_K[0] or grid[-1] > x_K[-1]:
            raise ValueError(
                f"{_name(keys, label)} covers {x_K[0]:,.0f} to {x_K[-1]:,.0f} tokens only; leave it out or ask for fewer tokens"
            )
        own = {"interval": np.arange(len(grid)), "tokens": grid, dv: np.interp(grid, x_K, y_K)}
        error = interpolation_error(x_K, y_K, grid)
        parts.append(pd.DataFrame({**dict(zip(keys, label, strict=True)), **own, "interpolation_error": error}))
    return pd.concat(parts, ignore_index=True)


def interpolation_error(
    x_K: NDArray[np.float64], y_K: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a straight line between evaluations may be off by: curvature · u · (h − u), u from the left one, h apart.

    The curvature is the larger second divided difference of the two triples that hold both ends; nan for two evaluations.
    """
    left = np.clip(np.searchsorted(x_K, at, side="right") - 1, 0, len(x_K) - 2)
    before, after = at - x_K[left], x_K[left + 1] - at
    if len(x_K) < 3:
        return np.where((before == 0) | (after == 0), 0.0, np.nan)
    slope = np.diff(y_K) / np.diff(x_K)
    bend = np.abs(np.diff(slope)) / (x_K[2:] - x_K[:-2])
    largest = np.maximum(bend[np.clip(left - 1, 0, len(bend) - 1)], bend[np.clip(left, 0, len(bend) - 1)])
    return np.asarray(largest * before * after)


def _common(curves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    inside = [x[(x >= low) & (x <= high)] for x, _ in curves]
    return min(inside, key=len)


def _name(keys: list[str], label: object) -> str:
    values = label if isinstance(label, tuple) else (label,)
    return ", ".join(f"{k}={v}" for k, v in zip(keys, values, strict=False)) or "the curve"
