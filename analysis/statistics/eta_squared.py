"""Bootstrap intervals for partial and generalised η² over few seeds.

At these sizes the sample's η² is far too large: without any effect partial η² averages 1/n, and a resample that holds a seed
twice has it larger still. Percentile and BCa intervals of η² therefore miss the truth more often than not (coverage 0 to 58 %
at six seeds; docs/log.md). What is resampled here is the error of log F around the value that it estimates, which is known in
the bootstrap's own world. Legend: B resamples, S seeds (n), K intervals (k).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from trajlab.analysis.statistics.sums_of_squares import SumsOfSquares, decompose

FEWEST_SEEDS = 4


def eta_squared_interval(
    y_SK: NDArray[np.float64], *, generalized: bool = False, n_resamples: int = 5000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval for the population's η², effect variance over effect plus error (plus seed) variance.

    With θ the effect's odds, F estimates nθ + r (r = 1 for partial η²; for generalised η² the share of the error in what
    stands below). Seeds are resampled, log F* − log(nθ̂ + r) taken, and its expanded percentiles (Hesterberg 2015: those of a t
    distribution, for few seeds) subtracted from log F. The sample's η² can lie above the interval. (nan, nan) with fewer than
    four seeds: three allow ten different resamples, and the interval then covers in two cases of three.
    """
    n = len(y_SK)
    if n < FEWEST_SEEDS:
        return np.nan, np.nan
    draws_BS = np.random.default_rng(seed).integers(0, n, (n_resamples, n))
    draws_BS = draws_BS[(draws_BS != draws_BS[:, :1]).any(1)]  # one seed n times over has no error variance
    f_B = _odds(_resampled(y_SK, draws_BS), generalized)[0]
    (f,), (r,) = _odds(decompose(y_SK[None]), generalized)
    with np.errstate(divide="ignore"):
        deviation_B = np.log(f_B) - np.log(n * f / (n - 1) + r)
    tail = stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf((1 - level) / 2, n - 1))
    over, under = np.quantile(deviation_B, [1 - tail, tail])
    odds = np.maximum(f * np.exp([-over, -under]) - r, 0) / n
    low, high = odds / (1 + odds)
    return float(low), float(high)


def _resampled(y_SK: NDArray[np.float64], draws_BS: NDArray[np.int64]) -> SumsOfSquares:
    """`decompose` of each resample from how often each seed is drawn: n² a resample, whatever k."""
    n, k = y_SK.shape
    level_S = y_SK.mean(1) - y_SK.mean()
    centred_SK = y_SK - y_SK.mean(1, keepdims=True)
    mean_K = centred_SK.mean(0)
    residual_SK = centred_SK - mean_K
    share_BS = np.stack([(draws_BS == s).mean(1) for s in range(n)], axis=1)
    moved_B = np.einsum("bs,st,bt->b", share_BS, residual_SK @ residual_SK.T, share_BS, optimize=True)
    effect_B = mean_K @ mean_K + 2 * share_BS @ (residual_SK @ mean_K) + moved_B
    error_B = share_BS @ np.square(residual_SK).sum(1) - moved_B
    subject_B = share_BS @ level_S**2 - (share_BS @ level_S) ** 2
    return SumsOfSquares(n * effect_B, n * k * subject_B, n * error_B, n, k)


def _odds(parts: SumsOfSquares, generalized: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F over error alone or over error and seeds, and r, what it estimates where there is no effect."""
    rest_B = parts.error_B + (parts.subject_B if generalized else 0.0)
    return (parts.n - 1) * parts.effect_B / rest_B, parts.error_B / rest_B
