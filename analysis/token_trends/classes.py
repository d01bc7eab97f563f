"""Downward, upward, stagnated or unclassified: the trend of every token, and how many tokens go which way.

Shapes: M tokens, C checkpoints. Losses in nats.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from trajlab.analysis.token_trends.losses import checked_losses, losses_from, start_column
from trajlab.analysis.token_trends.significance import is_level, rank_test, slope_test

Test = Literal["ols", "ar1", "mann_kendall"]
TRENDS = ("downward", "upward", "stagnated", "unclassified")
STARTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Fractions of training from which on trends are counted."""
READINGS: dict[str, tuple[Test, str | None]] = {
    "ols": ("ols", None),
    "ols, BH": ("ols", "bh"),
    "ols, AR(1)": ("ar1", None),
    "ols, AR(1), BH": ("ar1", "bh"),
    "Mann–Kendall": ("mann_kendall", None),
    "Mann–Kendall, BH": ("mann_kendall", "bh"),
}
"""How a trend may be tested: the published reading first, the others (ours) beside it."""


def classify_trends(
    nll_MC: ArrayLike,
    start: int | float = 0,
    alpha: float = 0.05,
    adjust: str | None = None,
    *,
    test: Test = "ols",
    at_C: ArrayLike | None = None,
) -> pd.DataFrame:
    """The trend of every token from the checkpoint ``start`` on; a row per token, in order.

    With j the start checkpoint, the ratio PPL_i/PPL_j = exp(nll_i − nll_j) is regressed on (i − j), with an intercept,
    over all i ≥ j: downward where the slope is negative and p < ``alpha``, upward where it is positive and p < ``alpha``,
    stagnated where neither and both the first and the last perplexity lie within 5 % of the geometric mean of all from j
    on, else unclassified. Dividing by PPL_j makes slopes of different tokens comparable and leaves t and p alone. This
    is the reading **(ours)** of "regress PPL_i/PPL_j on (i − j)"; all pairs i > j at once would count every checkpoint
    C − 1 times and call nearly everything significant.

    ``start`` is a column (an int) or a fraction of training (a float under 1), by the checkpoint nearest to it; ``at_C``,
    in steps or tokens, places the checkpoints in training where they are not evenly spaced. The line is over the index
    all the same. ``adjust="bh"`` decides by Benjamini–Hochberg-adjusted p, so that at most ``alpha`` of the trends found
    are expected to be false.

    ``test``: ``ols`` as published, which takes residuals for independent; ``ar1`` **(ours)** the same line with the
    effective number of checkpoints n(1 − r₁)/(1 + r₁) in place of n (Santer et al. 2000, doi:10.1029/1999JD901105), r₁ the
    lag-one autocorrelation where positive, of residuals from a quadratic so that the bend of a learning curve does not
    count as noise; ``mann_kendall`` the rank test, whose direction is the sign of τ.

    Columns: slope, t, p, [r1, or tau], p_bh, trend (categorical).

    >>> falling, flat = [3 - 0.1 * i for i in range(8)], [2.0] * 8
    >>> classify_trends([falling, flat])["trend"].tolist()
    ['downward', 'stagnated']

    Raises ValueError for losses that are not finite, fewer than three checkpoints, an unknown ``test`` or ``adjust``.
    """
    nll = losses_from(nll_MC, start, at_C)
    if adjust not in (None, "bh"):
        raise ValueError(f"adjust={adjust!r}: expected None or 'bh' (Benjamini–Hochberg)")
    if test not in ("ols", "ar1", "mann_kendall"):
        raise ValueError(f"test={test!r}: expected 'ols', 'ar1' or 'mann_kendall'")
    columns, level = slope_test(nll, autocorrelated=test == "ar1")
    direction = columns["slope"]
    if test == "mann_kendall":
        columns |= rank_test(nll)
        direction = columns["tau"]
    columns["p_bh"] = stats.false_discovery_control(columns["p"]) if len(nll) else columns["p"]
    significant = columns["p_bh" if adjust else "p"] < alpha
    codes = np.where(level, TRENDS.index("stagnated"), TRENDS.index("unclassified")).astype(np.int8)
    codes[significant & (direction < 0)] = TRENDS.index("downward")
    codes[significant & (direction > 0)] = TRENDS.index("upward")
    return pd.DataFrame({**columns, "trend": pd.Categorical.from_codes(codes, list(TRENDS))}, copy=False)


def trend_shares(
    nll_MC: ArrayLike,
    starts: Iterable[int | float] = STARTS,
    alpha: float = 0.05,
    readings: Iterable[str] = READINGS,
    at_C: ArrayLike | None = None,
) -> pd.DataFrame:
    """How many tokens go which way: a row per start × reading × trend with count and share.

    Start points that leave fewer than three checkpoints are left out.
    """
    nll, at = checked_losses(nll_MC, at_C)
    rows = []
    for start in starts:
        column = start_column(start, at)
        if nll.shape[1] - column < 3:
            continue
        for reading in readings:
            test, adjust = READINGS[reading]
            trend = classify_trends(nll, column, alpha, adjust, test=test, at_C=at)["trend"]
            counts = trend.value_counts(sort=False)
            rows += [(start, column, reading, kind, int(n), n / max(len(nll), 1)) for kind, n in counts.items()]
    return pd.DataFrame(rows, columns=["start", "checkpoint", "reading", "trend", "count", "share"])


def mann_kendall(nll_MC: ArrayLike, start: int | float = 0) -> pd.DataFrame:
    """Mann–Kendall trend test of every token from ``start`` on: s, tau, z, p; a row per token.

    S is the number of rising minus the number of falling pairs; its variance allows for ties; z has the continuity
    correction and p is two-sided from the normal distribution, an approximation that wants ten checkpoints or so. The
    test assumes exchangeable checkpoints under the null: autocorrelation makes it reject too often, as it does OLS.
    """
    nll = losses_from(nll_MC, start, None)
    is_level(nll.astype(float), nll.mean(axis=1, dtype=float))  # every loss must be finite
    return pd.DataFrame(rank_test(nll))
