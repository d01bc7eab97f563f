"""Student's t interval of a mean: the one place where it is computed (docs/methods.md §2)."""

from typing import TypeVar

import numpy as np
import pandas as pd
from scipy import stats

Values = TypeVar("Values", float, np.ndarray, pd.Series)


def t_interval(mean: Values, error: Values, n: Values | int, level: float = 0.95) -> tuple[Values, Values]:
    """(low, high) = mean ∓ t·error, with t the quantile of Student's t distribution on n − 1 degrees of freedom.

    ``error`` is the standard error of the mean, sd/√n. Numbers, arrays or columns of one shape, each element its own
    interval. One observation has no standard error (nan) and so no interval: (nan, nan).

    >>> low, high = t_interval(2.0, 1 / 3**0.5, 3)
    >>> print(f"{low:.3f} {high:.3f}")
    -0.484 4.484
    """
    half = stats.t.ppf((1 + level) / 2, np.maximum(np.subtract(n, 1), 1)) * error
    return mean - half, mean + half
