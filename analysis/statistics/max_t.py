"""Where two groups of curves differ: the largest |t| along the curve against relabelled runs, and simultaneous bands.

One decision for the whole curve, so that fifty intervals aren't fifty chances. Legend: S, R runs of two groups, K intervals,
B relabellings.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from trajlab.analysis.statistics.resampling import EXACT_SIGN_FLIPS, all_signs, share_at_least

EXACT_RELABELLINGS = 5_000
"""Two groups have all their relabellings tried up to this many."""

FEWEST_FOR_BANDS = 8
"""Degrees of freedom under which bands take Bonferroni's t: quantiles of the few distinct relabellings are too coarse."""


@dataclass(frozen=True)
class MaxT:
    """Difference, its standard error and t at each interval; one p and one half-width factor for all of them."""

    difference_K: NDArray[np.float64]
    error_K: NDArray[np.float64]
    t_K: NDArray[np.float64]
    p: float
    critical: float
    """|t| beyond which an interval differs; the band is difference ∓ critical · error."""
    method: str
    relabellings: int


def paired_max_t(d_SK: NDArray[np.float64], level: float = 0.95, n_resamples: int = 1999, seed: int = 0) -> MaxT:
    """Of S difference curves: whole curves flip their signs; all 2ˢ flips up to 14 of them.

    Under six curves no flip can reach p = .05; then Bonferroni's t tests decide, which take errors as normal.
    """
    n = len(d_SK)
    exact = n <= EXACT_SIGN_FLIPS
    signs_BS = all_signs(n) if exact else np.random.default_rng(seed).choice([-1.0, 1.0], (n_resamples, n))

    def largest(y_SK: NDArray[np.float64]) -> NDArray[np.float64]:
        mean_BK = signs_BS @ y_SK / n
        error_BK = np.sqrt(np.maximum(np.square(y_SK).mean(0) - mean_BK**2, 0) / (n - 1))
        return np.abs(_ratio(mean_BK, error_BK, d_SK)).max(-1)

    mean_K, error_K = d_SK.mean(0), d_SK.std(0, ddof=1) / np.sqrt(n)
    smallest = 2 / 2**n if exact else 1 / (1 + n_resamples)
    nulls = (largest(d_SK), largest(d_SK - mean_K))
    return _decided(mean_K, error_K, d_SK, nulls, n - 1, level, smallest, exact, "sign flips of whole curves")


def unpaired_max_t(
    a_SK: NDArray[np.float64], b_RK: NDArray[np.float64], level: float = 0.95, n_resamples: int = 1999, seed: int = 0
) -> MaxT:
    """Of two groups of curves, B − A: runs are relabelled, all ways up to `EXACT_RELABELLINGS`. t of a pooled variance.

    Three runs against three allow no p below .1; then Bonferroni's t tests decide, which take errors as normal. So they do for
    groups of different numbers, with Welch's errors: relabelled runs say that groups differ also where only their spreads do
    (48 to 77 % of two runs against eight with a third of the spread).
    """
    n, m = len(a_SK), len(b_RK)
    if n != m:
        return _welch(a_SK, b_RK, level)
    both = np.concatenate([a_SK, b_RK])
    exact = comb(n + m, n) <= EXACT_RELABELLINGS
    chosen_BS = _relabellings(n, m, n_resamples, seed, exact)

    def largest(y: NDArray[np.float64]) -> NDArray[np.float64]:
        y = y - y.mean(0)
        total_K, square_K = y.sum(0), np.square(y).sum(0)
        sum_BK = chosen_BS @ y
        mean_a, mean_b = sum_BK / n, (total_K - sum_BK) / m
        within_BK = np.maximum(square_K - n * mean_a**2 - m * mean_b**2, 0) / (n + m - 2)
        return np.abs(_ratio(mean_b - mean_a, np.sqrt(within_BK * (1 / n + 1 / m)), both)).max(-1)

    difference_K = b_RK.mean(0) - a_SK.mean(0)
    within_K = (a_SK.var(0) * n + b_RK.var(0) * m) / (n + m - 2)
    error_K = np.sqrt(within_K * (1 / n + 1 / m))
    smallest = 2 / comb(n + m, n) if exact else 1 / (1 + n_resamples)
    nulls = (largest(both), largest(np.concatenate([a_SK - a_SK.mean(0), b_RK - b_RK.mean(0)])))
    return _decided(difference_K, error_K, both, nulls, n + m - 2, level, smallest, exact, "relabelled runs")


def _welch(a_SK: NDArray[np.float64], b_RK: NDArray[np.float64], level: float) -> MaxT:
    """Bonferroni's t over intervals, with the errors of each group; the degrees of freedom are Welch's of the mean variances.

    One number for the whole curve: the ratio of the two variances is taken as one, since few runs don't tell it interval by interval.
    """
    part_2K = np.stack([y.var(0, ddof=1) / len(y) for y in (a_SK, b_RK)])
    part_2, less_one_2 = part_2K.mean(1), np.array([len(a_SK), len(b_RK)]) - 1
    df = part_2.sum() ** 2 / (part_2**2 / less_one_2).sum() if part_2.any() else less_one_2.sum()
    difference_K, error_K = b_RK.mean(0) - a_SK.mean(0), np.sqrt(part_2K.sum(0))
    t_K = _ratio(difference_K, error_K, np.concatenate([a_SK, b_RK]))
    return _bonferroni(difference_K, error_K, t_K, float(df), level, "different numbers of runs, Welch's errors")


def _bonferroni(
    mean_K: NDArray[np.float64],
    error_K: NDArray[np.float64],
    t_K: NDArray[np.float64],
    df: float,
    level: float,
    why: str,
) -> MaxT:
    levels = int((error_K > 0).sum()) or 1
    critical = float(stats.t.ppf(1 - (1 - level) / (2 * levels), df))
    p = min(1.0, 2 * levels * float(stats.t.sf(np.abs(t_K).max(), df)))
    words = f"Bonferroni's t over {levels} intervals, errors taken as normal: {why}"
    return MaxT(mean_K, error_K, t_K, p, critical, words, 0)


def _relabellings(n: int, m: int, n_resamples: int, seed: int, exact: bool) -> NDArray[np.float64]:
    """(B, n + m): 1 for the runs that are called A."""
    if exact:
        places = np.array(list(combinations(range(n + m), n)))
    else:
        rng = np.random.default_rng(seed)
        places = rng.permuted(np.tile(np.arange(n + m), (n_resamples, 1)), axis=1)[:, :n]
    chosen_BS = np.zeros((len(places), n + m))
    np.put_along_axis(chosen_BS, places, 1.0, axis=1)
    return chosen_BS


def _ratio(mean: NDArray[np.float64], error: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """t, and 0 where all runs have the same value, as at initialisation: nothing is known to differ there."""
    noise = 64 * np.finfo(float).eps * np.abs(y).max(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error > noise, mean / error, 0.0)


def _decided(
    mean_K: NDArray[np.float64],
    error_K: NDArray[np.float64],
    y: NDArray[np.float64],
    nulls: tuple[NDArray[np.float64], NDArray[np.float64]],
    df: int,
    level: float,
    smallest: float,
    exact: bool,
    method: str,
) -> MaxT:
    t_K = _ratio(mean_K, error_K, y)
    by_t = _bonferroni(mean_K, error_K, t_K, df, level, "too few runs to resample")
    if smallest > 1 - level:
        return by_t
    null_B, centred_B = nulls
    share = float(share_at_least(null_B, np.abs(t_K).max()))
    p = share if exact else (1 + share * len(null_B)) / (1 + len(null_B))
    critical = max(float(np.quantile(c, level, method="higher")) for c in (null_B, centred_B))
    if df < FEWEST_FOR_BANDS:
        critical = max(critical, by_t.critical)
    return MaxT(mean_K, error_K, t_K, p, critical, f"largest |t| over {method}", len(null_B))
