"""The lowest loss and the rise from it, measured where other seeds have their lowest mean (docs/methods.md §6).

Seeds S, intervals K, B simulated data sets.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

DRAWS = 499
CELLS = 1_000_000
"""Simulated losses held at once: 8 MB."""
APART = 0.995
"""One-sided level beyond which an interval is taken to lie above the lowest one **(ours)**."""


def at_others_best(x_SK: NDArray[np.float64], y_SK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each seed's ``x`` at the interval where ``y`` is lowest for the mean of the other seeds; two seeds or more.

    A seed's value where its own luck helped to choose the place is too low, and a mean over such seeds too.
    """
    others_SK = y_SK.sum(0) - y_SK
    return x_SK[np.arange(len(x_SK)), others_SK.argmin(1)]


def cross_fitted(y_SK: NDArray[np.float64], start: int | None = None) -> tuple[float, float, float]:
    """The lowest mean of ``y`` with a 95 % interval, by `at_others_best`: (mean, low, high); two seeds or more.

    With ``start``, the mean at that interval less the lowest.

    Seeds that are low by chance decide together where they are measured, so their values are not independent and t with
    n − 1 degrees of freedom is too short where a curve is flat. The half width is therefore the standard error times the larger of t's
    quantile and that of |T| in data simulated from the seeds' own covariance (shrunk as in `_noise`), with every interval
    that isn't shown to lie above the lowest one at the same level as it: the case in which the choice matters most.
    """
    n, mean_K = len(y_SK), y_SK.mean(0)
    (mean,), (error,) = _estimates(y_SK[None], start)
    best = int(mean_K.argmin())
    above_SK = y_SK - y_SK[:, [best]]
    tied_K = above_SK.mean(0) <= stats.t.ppf(APART, n - 1) * above_SK.std(0, ddof=1) / n**0.5
    level_K = np.where(tied_K, mean_K[best], mean_K)
    truth = level_K[best] if start is None else level_K[start] - level_K[best]
    rng, block = np.random.default_rng(0), max(1, CELLS // y_SK.size)
    ratios = []
    for drawn in range(0, DRAWS, block):
        means_B, errors_B = _estimates(level_K + _noise(y_SK, min(block, DRAWS - drawn), rng), start)
        off_B = np.abs(means_B - truth)
        ratios.append(np.divide(off_B, errors_B, out=np.zeros_like(off_B), where=errors_B > 0))
    half = error * max(stats.t.ppf(0.975, n - 1), float(np.quantile(np.concatenate(ratios), 0.95)))
    return float(mean), float(mean - half), float(mean + half)


def _estimates(y_BSK: NDArray[np.float64], start: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over seeds and its standard error: from the larger sd of the values and of all seeds at the one lowest interval."""
    sum_BK = y_BSK.sum(1)
    places_BS = (sum_BK[:, None] - y_BSK).argmin(-1)
    at_BS = np.take_along_axis(y_BSK, places_BS[..., None], -1)[..., 0]
    best_BS = np.take_along_axis(y_BSK, sum_BK.argmin(-1)[:, None, None], -1)[..., 0]
    if start is not None:
        at_BS, best_BS = y_BSK[..., start] - at_BS, y_BSK[..., start] - best_BS
    sd_B = np.maximum(at_BS.std(1, ddof=1), best_BS.std(1, ddof=1))
    return at_BS.mean(1), sd_B / y_BSK.shape[1] ** 0.5


def _noise(y_SK: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Normal noise (B, S, K) with the covariance of ``y``, its correlations shrunk to 0 by `shrinkage`.

    A few seeds span a few directions only; noise in these alone would choose between fewer places than the real one does.
    """
    n = len(y_SK)
    share = shrinkage(y_SK)
    common = rng.standard_normal((count, n, n)) @ ((y_SK - y_SK.mean(0)) / np.sqrt(n - 1))
    own = y_SK.std(0, ddof=1) * rng.standard_normal((count, *y_SK.shape))
    return np.asarray(np.sqrt(1 - share) * common + np.sqrt(share) * own)


def shrinkage(y_SK: NDArray[np.float64]) -> float:
    """How far correlations between columns are to be drawn to 0, from 0 to 1 (Schäfer & Strimmer 2005, doi:10.2202/1544-6115.1175).

    The variance of the correlations over their squares. Σ over pairs of columns of products of four is had from the S × S
    matrix of inner products, so that a thousand intervals cost no more than a hundred.
    """
    n = len(y_SK)
    sd_K = y_SK.std(0, ddof=1)
    z_SK = (y_SK - y_SK.mean(0)) / np.where(sd_K > 0, sd_K, np.inf)
    gram_SS, square_SK = z_SK @ z_SK.T, np.square(z_SK)
    # over pairs of different columns: Σ (Σ_s z z')² and Σ_s Σ (z z')²
    squared_sums = float(np.square(gram_SS).sum() - np.square(square_SK.sum(0)).sum())
    sums_of_squares = float(np.square(np.diag(gram_SS)).sum() - np.square(square_SK).sum())
    correlations = squared_sums / (n - 1) ** 2
    variances = n / (n - 1) ** 3 * (sums_of_squares - squared_sums / n)
    return float(np.clip(variances / correlations, 0, 1)) if correlations > 0 else 1.0
