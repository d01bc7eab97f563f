"""Least squares with an intercept: R² of a few terms, the nested F test, and R² on models that were left out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats


def _design(terms: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    columns = np.column_stack([np.ones_like(terms[0]), *terms])
    return columns / np.maximum(np.abs(columns).max(axis=0), 1e-300)


def least_squares_r2(terms: Sequence[NDArray[np.float64]], y: NDArray[np.float64]) -> tuple[float, int]:
    """R² and the number of terms beside the intercept; columns that add nothing (one size only) don't count."""
    x = _design(terms)
    beta, _, rank, _ = np.linalg.lstsq(x, y, rcond=1e-10)
    return float(1 - ((y - x @ beta) ** 2).sum() / ((y - y.mean()) ** 2).sum()), int(rank) - 1


def nested_f(
    small: Sequence[NDArray[np.float64]], large: Sequence[NDArray[np.float64]], y: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """(F, df1, df2, p) of the terms that ``large`` has beyond ``small``; nan where it has none, or no residual is left."""
    (r2_small, k_small), (r2_large, k_large) = least_squares_r2(small, y), least_squares_r2(large, y)
    df1, df2 = k_large - k_small, len(y) - 1 - k_large
    if df1 <= 0 or df2 <= 0:
        return (math.nan,) * 4
    f = (r2_large - r2_small) / df1 / ((1 - r2_large) / df2)
    return f, df1, df2, float(stats.f.sf(f, df1, df2))


def left_out_r2(terms: Sequence[NDArray[np.float64]], y: NDArray[np.float64], models: NDArray[Any]) -> float:
    """R² of predicting each model's checkpoints from a fit to the other models'; NaN for one model."""
    x, predicted = _design(terms), np.empty_like(y)
    names = pd.unique(models)
    if len(names) < 2:
        return math.nan
    for name in names:
        out = models == name
        predicted[out] = x[out] @ np.linalg.lstsq(x[~out], y[~out], rcond=1e-10)[0]
    return float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())
