"""Do two models, sizes or seeds get the same questions right? (docs/task_items.md). Shapes: M questions, B resamples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Agreement:
    """Share of questions that both get right or both get wrong, and Cohen's κ: how much of it is beyond chance."""

    n: int
    observed: float
    expected: float
    """For two models of these accuracies whose answers have nothing to do with each other."""
    kappa: float
    """(observed − expected) ÷ (1 − expected): 0 by chance, 1 at most; NaN where both are always right or always wrong."""
    low: float
    high: float
    """95 % interval, questions resampled (percentiles)."""


def agreement(
    first_M: ArrayLike, second_M: ArrayLike, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Agreement:
    """Cohen's κ (1960, doi:10.1177/001316446002000104) of two models on the same questions; right is 0.5 or more.

    >>> found = agreement([1, 1, 0, 0], [1, 1, 0, 1])
    >>> found.observed, found.expected, found.kappa
    (0.75, 0.5, 0.5)

    Raises ValueError for other shapes.
    """
    first, second = np.asarray(first_M, dtype=float) >= 0.5, np.asarray(second_M, dtype=float) >= 0.5
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"shapes {first.shape} and {second.shape}: expected the same questions, in one order")
    cells = np.bincount(2 * first + second, minlength=4)
    share = cells / cells.sum()
    drawn_B4 = np.random.default_rng(seed).multinomial(cells.sum(), share, resamples) / cells.sum()
    observed, expected, kappa = _kappa(share)
    kappa_B = _kappa(drawn_B4)[2]
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(kappa_B, [tail, 100 - tail]) if np.isfinite(kappa_B).any() else (np.nan, np.nan)
    return Agreement(len(first), float(observed), float(expected), float(kappa), float(low), float(high))


def _kappa(share: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed, expected and κ of tables (…, 4): both wrong, second right, first right, both right."""
    both_wrong, second_only, first_only, both_right = np.moveaxis(share, -1, 0)
    observed = both_wrong + both_right
    first, second = first_only + both_right, second_only + both_right
    expected = first * second + (1 - first) * (1 - second)
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa = np.where(expected < 1, (observed - expected) / (1 - expected), np.nan).round(12)  # 0, not −9e−17
    return observed, expected, kappa
