"""Planned contrasts between intervals, and how many seeds they need (docs/methods.md §2).

`planned_pairs` names the few comparisons that the study asks for, `planned_contrasts` tests them within a family,
`power_table` turns a spread between seeds into a number of seeds.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from trajlab.analysis.statistics.grids import complete_grid
from trajlab.analysis.statistics.intervals import t_interval
from trajlab.analysis.statistics.resampling import EXACT_SIGN_FLIPS, all_signs, share_at_least

Pair = tuple[Any, Any]

FEWEST_FOR_BOOTSTRAP = 4
"""Three seeds have ten different resamples."""


def planned_pairs(frame: pd.DataFrame, dv: str, within: str, subject: str) -> dict[str, list[Pair]]:
    """Two families: ``turn`` (first → best, best → last) and ``adjacent`` (each level → the next).

    Best is the level with the lowest mean over subjects. It is chosen from the same data, so a test of ``turn`` declares one
    in 6 to 16 % of flat curves: for a conclusion read `trajlab.analysis.turning_point`. Where best is the first or last level, the empty comparison is left out.
    """
    grid = complete_grid(frame, dv, within, subject, min_subjects=1)
    levels = list(grid.columns)
    first, best, last = levels[0], grid.mean().idxmin(), levels[-1]
    turn = [(a, b) for a, b in ((first, best), (best, last)) if a != b]
    return {"turn": turn, "adjacent": list(pairwise(levels))}


def planned_contrasts(
    frame: pd.DataFrame,
    dv: str,
    within: str,
    subject: str,
    pairs: Iterable[Pair],
    *,
    level: float = 0.95,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Paired comparisons b − a for each pair (a, b) of levels; the pairs are one family.

    Columns: a, b, mean_a, mean_b, difference with ci_low, ci_high (t); t, df, p, p_holm; g_av with g_low, g_high; p_sign_flip
    (exact up to 14 seeds, at least 2/2ⁿ); boot_low, boot_high (resampled seeds, `bootstrap_interval`: does one seed carry the
    result? from four seeds on). Where every subject differs by the same amount t is ±inf and g_av uses the spread between
    subjects; where nothing differs at all p = 1.

    Raises ValueError for an unknown level, an empty family, and as `complete_grid` does.

    >>> from trajlab.analysis import load_runs
    >>> intervals = load_runs("runs/demo").intervals
    >>> table = planned_contrasts(intervals, "loss", within="interval", subject="seed", pairs=[(2, 10)])
    >>> table[["a", "b", "difference", "ci_low", "ci_high"]].round(2)
       a   b  difference  ci_low  ci_high
    0  2  10        1.09    1.04     1.13
    """
    grid = complete_grid(frame, dv, within, subject)
    pairs = list(pairs)
    _check_pairs(pairs, grid, within)
    draws_BS = np.random.default_rng(seed).integers(0, len(grid), (n_bootstrap, len(grid)))
    rows = [_contrast(a, b, grid[a].to_numpy(), grid[b].to_numpy(), draws_BS, level) for a, b in pairs]
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("p") + 1, "p_holm", multipletests(table["p"], method="holm")[1])
    return table


def _check_pairs(pairs: Sequence[Pair], grid: pd.DataFrame, within: str) -> None:
    if not pairs:
        raise ValueError("no pairs: name at least one comparison, e.g. pairs=[(0, 4)]")
    unknown = sorted({str(x) for pair in pairs for x in pair if x not in grid.columns})
    if unknown:
        raise ValueError(f"no {within} {', '.join(unknown)}; there are {', '.join(map(str, grid.columns))}")


def _contrast(
    a: Any, b: Any, a_S: NDArray[np.float64], b_S: NDArray[np.float64], draws_BS: NDArray[np.int64], level: float
) -> dict[str, Any]:
    change_S = b_S - a_S
    n, mean = len(change_S), float(change_S.mean())
    error = float(change_S.std(ddof=1)) / np.sqrt(n)
    if error <= 64 * np.finfo(float).eps * np.abs(np.r_[a_S, b_S]).max():
        error = 0.0
    t = mean / error if error else float(np.sign(mean) * np.inf) if mean else 0.0
    low, high = t_interval(mean, error, n, level)
    g, g_low, g_high = hedges_g_av(a_S, b_S, level=level)
    boot_low, boot_high = bootstrap_interval(change_S, draws_BS, level)
    return {
        "a": a,
        "b": b,
        "mean_a": a_S.mean(),
        "mean_b": b_S.mean(),
        "difference": mean,
        "ci_low": low,
        "ci_high": high,
        "t": t,
        "df": n - 1,
        "p": float(2 * stats.t.sf(abs(t), n - 1)),
        "g_av": g,
        "g_low": g_low,
        "g_high": g_high,
        "p_sign_flip": _paired_sign_flip(change_S),
        "boot_low": boot_low,
        "boot_high": boot_high,
    }


def bootstrap_interval(
    change_S: NDArray[np.float64], draws_BS: NDArray[np.int64], level: float = 0.95
) -> tuple[float, float]:
    """Studentized bootstrap over seeds, symmetric (Hall 1988, doi:10.1214/aos/1176350933): mean ∓ c·error, c a quantile of |t|.

    Each resample is divided by its own standard error, so that a seed unlike the others widens the interval; percentiles
    of the mean narrow with it and hold 75 % at three seeds. Resamples of one seed alone have no error and are left out;
    (nan, nan) under four seeds, of which too few resamples can be drawn.
    """
    n, mean = len(change_S), float(change_S.mean())
    error = float(change_S.std(ddof=1)) / np.sqrt(n)
    if n < FEWEST_FOR_BOOTSTRAP:
        return np.nan, np.nan
    drawn_BS = change_S[draws_BS]
    error_B = drawn_BS.std(1, ddof=1) / np.sqrt(n)
    varied_B = error_B > 1e-9 * error
    if not varied_B.any():
        return mean, mean
    t_B = np.abs(drawn_BS.mean(1)[varied_B] - mean) / error_B[varied_B]
    half = error * float(np.quantile(t_B, level))
    return mean - half, mean + half


def _paired_sign_flip(change_S: NDArray[np.float64]) -> float:
    """Two-sided p of |mean| under sign flips of the differences; nan above 14 seeds."""
    if len(change_S) > EXACT_SIGN_FLIPS:
        return np.nan
    return float(share_at_least(np.abs(all_signs(len(change_S)) @ change_S), abs(change_S.sum())))


def hedges_g_av(
    a_S: NDArray[np.float64], b_S: NDArray[np.float64], *, level: float = 0.95
) -> tuple[float, float, float]:
    """g_av of b − a with a confidence interval of its population's value: (g, low, high).

    Mean difference ÷ √((var_a + var_b)/2), times 1 − 3/(8n − 9) (Cumming 2012; Lakens 2013). The interval has the quantiles of
    its generalised pivot under normal errors (Weerahandi 1993, doi:10.1080/01621459.1993.10476355), which holds
    the uncertainty of both spreads and of their correlation; Algina and Keselman's takes the spread as known and is too short
    for large effects and few seeds (89 to 93 % at three). nan where neither level varies; no interval of two seeds.
    """
    n = len(a_S)
    small = 1 - 3 / (8 * n - 9)
    noise = 64 * np.finfo(float).eps * np.abs(np.r_[a_S, b_S]).max()
    spread = np.sqrt((a_S.var(ddof=1) + b_S.var(ddof=1)) / 2)
    if spread <= noise:
        return np.nan, np.nan, np.nan
    g = small * (b_S - a_S).mean() / spread
    if n == 2:
        return g, np.nan, np.nan
    wide_S, narrow_S, way = (b_S, a_S, 1.0) if b_S.var() >= a_S.var() else (a_S, b_S, -1.0)
    centred_S = wide_S - wide_S.mean()
    slope = centred_S @ narrow_S / (centred_S @ centred_S)
    rest_S = narrow_S - narrow_S.mean() - slope * centred_S
    factor_22 = np.array([[np.sqrt(centred_S @ centred_S), 0.0], [0.0, np.sqrt(rest_S @ rest_S)]])
    factor_22[1, 0] = slope * factor_22[0, 0]
    root_D22, shift_D2 = _pivots(n)
    sd_D22 = factor_22 @ root_D22
    off_D = way * np.array([1.0, -1.0]) @ (sd_D22 @ shift_D2[..., None])[..., 0].T
    values_D = ((b_S - a_S).mean() - off_D) / np.sqrt(np.square(sd_D22).sum((1, 2)) / 2)
    low, high = np.quantile(values_D, [(1 - level) / 2, (1 + level) / 2])
    return g, float(low), float(high)


@lru_cache
def _pivots(n: int, draws: int = 4000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse Cholesky factors of Wishart matrices (Bartlett 1934) of n − 1 degrees of freedom, and errors of two means."""
    rng = np.random.default_rng(0)
    bartlett_D22 = np.zeros((draws, 2, 2))
    bartlett_D22[:, 0, 0], bartlett_D22[:, 1, 1] = (np.sqrt(rng.chisquare(df, draws)) for df in (n - 1, n - 2))
    bartlett_D22[:, 1, 0] = rng.standard_normal(draws)
    return np.linalg.inv(bartlett_D22).astype(np.float64), rng.standard_normal((draws, 2)) / np.sqrt(n)


@lru_cache
def _chi_quantiles(df: int, count: int = 4000) -> NDArray[np.float64]:
    """Equally likely values of √(χ²/df)."""
    return np.asarray(np.sqrt(stats.chi2.ppf((np.arange(count) + 0.5) / count, df) / df))


def power_table(
    sd_difference: float,
    effects: Sequence[float],
    *,
    n_seeds: Sequence[int] = tuple(range(2, 101)),
    power: float = 0.8,
    alpha: float = 0.05,
    family: int = 1,
) -> pd.DataFrame:
    """How many seeds a paired difference needs: a row per effect (nats).

    ``sd_difference`` is the sd over seeds of the difference between the two intervals; ``family`` comparisons share alpha
    (Bonferroni, what Holm asks of its smallest p). Columns: effect, d_z, seeds (the fewest of ``n_seeds`` that reach
    ``power``, nan beyond), power_at_3, power_at_6, power_at_12. Exact, by the noncentral t.
    """
    if not sd_difference > 0:
        raise ValueError(f"sd_difference={sd_difference}: must be positive; it is the sd over seeds of a difference")
    rows, counts = [], sorted(n_seeds)
    for effect in effects:
        d_z = abs(effect) / sd_difference
        # power grows with the seeds, so that a few of the counts tell where it is enough
        first = bisect_left(counts, power, key=lambda n: paired_t_power(d_z, n, alpha / family))
        at = {f"power_at_{n}": paired_t_power(d_z, n, alpha / family) for n in (3, 6, 12)}
        rows.append({"effect": effect, "d_z": d_z, "seeds": counts[first] if first < len(counts) else np.nan, **at})
    return pd.DataFrame(rows)


def paired_t_power(d_z: float, n: int, alpha: float = 0.05) -> float:
    """Power of the two-sided paired t test of ``n`` pairs at standardised mean difference ``d_z``."""
    critical, centre = stats.t.ppf(1 - alpha / 2, n - 1), d_z * np.sqrt(n)
    u = _chi_quantiles(n - 1)
    return float((special.ndtr(centre - critical * u) + special.ndtr(-centre - critical * u)).mean())
