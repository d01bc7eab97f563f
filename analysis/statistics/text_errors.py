"""Standard errors of a mean over validation windows that share text, and intervals over seeds and text at once.

Windows stand in the order of the text. Neighbours share tokens where the stride is under the context, and a document
may reach over several windows, so their losses are correlated and √W is too optimistic. The correlation along the text is
estimated from all changes of a curve together, since one change alone is too short for it. Legend: D changes, W windows,
H lags, S seeds.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

ROUNDS = 5
"""Corrections for the removed mean; the inflation settles to a percent in three."""

LARGEST_SHARE = 4
"""Windows are taken as correlated over at most W / this many lags: a longer correlation can't be estimated from W."""


def window_errors(change_DW: NDArray[np.float64], overlap: int | None = None) -> NDArray[np.float64]:
    """(D,): standard error of each row's mean, in the rows' unit; nan for fewer than two windows.

    ``overlap`` is how many windows in a row share text with a given one (context / stride, rounded up; 1: none), where it
    is known; correlation beyond it, or all of it where it is not known, is seen in the data.
    """
    width = change_DW.shape[1]
    if width < 2:
        return np.full(len(change_DW), np.nan)
    inflation = _inflation(change_DW, overlap)
    # the sample variance of correlated values is too small: their mean moves with them
    variance_D = change_DW.var(1, ddof=1) * (width - 1) / max(width - inflation, 1.0)
    return np.sqrt(variance_D * inflation / width)


def _inflation(change_DW: NDArray[np.float64], overlap: int | None) -> float:
    """How much larger the variance of the mean is than that of W independent windows: 1 + 2·Σ (1 − h/W)·ρ_h, at least 1."""
    width = change_DW.shape[1]
    lags = max(1, width // LARGEST_SHARE)
    correlation_H = _correlation(change_DW, lags)
    weight_H = 1 - np.arange(1, lags + 1) / width
    inflation = 1.0
    for _ in range(ROUNDS):
        # deviations from the row's own mean correlate by −(inflation − 1)/W and a little more, even where nothing else does
        mended_H = correlation_H * (1 - inflation / width) + inflation / width
        reach = max(_reach(mended_H, change_DW), min((overlap or 1) - 1, lags))
        inflation = min(max(1.0, 1 + 2 * float((weight_H * mended_H)[:reach].sum())), width / 2)
    return inflation


def _correlation(change_DW: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """(H,): autocorrelation along the windows, the rows' variances taken as one."""
    centred_DW = change_DW - change_DW.mean(1, keepdims=True)
    scale_D1 = np.sqrt(np.square(centred_DW).mean(1, keepdims=True))
    varied = scale_D1[:, 0] > 0
    if not varied.any():
        return np.zeros(lags)
    unit_DW = centred_DW[varied] / scale_D1[varied]
    return np.array([float((unit_DW[:, h:] * unit_DW[:, :-h]).mean()) for h in range(1, lags + 1)])


def _reach(correlation_H: NDArray[np.float64], change_DW: NDArray[np.float64]) -> int:
    """The number of first lags whose correlation stands out of the noise by two standard errors, without a gap.

    Rows count as one where they are few: losses of neighbouring intervals share the noise of an interval, so that D rows
    hold about D/2 independent ones.
    """
    rows = max(1.0, len(change_DW) / 2)
    above_H = correlation_H > 2 / np.sqrt(rows * change_DW.shape[1])
    return int(np.argmin(np.r_[above_H, False]))


def overlap_of(rows: pd.DataFrame) -> int | None:
    """Column ``window_overlap`` of table `intervals`: how many windows in a row share text; None where it is not known."""
    known = rows["window_overlap"].dropna() if "window_overlap" in rows else pd.Series(dtype=float)
    return int(known.max()) if len(known) else None


@dataclass(frozen=True)
class CrossedInterval:
    """A mean over seeds and over text, with what each adds to its uncertainty."""

    mean: float
    se_seeds: float
    """Had the seeds been others, on this text."""
    se_text: float
    """Had the text been other, with these seeds."""
    se: float
    """Both at once."""
    df: float
    low: float
    high: float
    seeds: int
    windows: int

    def table(self) -> pd.DataFrame:
        """One row, with what the interval holds."""
        return pd.DataFrame([{**vars(self), "holds": "seeds and text"}])


def crossed_interval(y_SW: NDArray[np.float64], *, overlap: int | None = None, level: float = 0.95) -> CrossedInterval:
    """Mean of losses (or of differences) of S seeds on the same W windows; all seeds share the windows.

    Var = σ²_seeds/S + σ²_text/W + σ²_rest/(S·W): a two-way layout with both random, correlation along the text as in
    `window_errors`; degrees of freedom by Satterthwaite. Raises ValueError for fewer than two seeds or windows.
    """
    n, width = y_SW.shape
    if n < 2 or width < 2:
        raise ValueError(f"{n} seeds and {width} windows: an interval over both needs two of each")
    mean, mean_S, mean_W = float(y_SW.mean()), y_SW.mean(1), y_SW.mean(0)
    text = float(window_errors(mean_W[None], overlap)[0]) ** 2  # holds σ²_text/W + σ²_rest/(S·W)
    seeds = float(mean_S.var(ddof=1)) / n  # holds σ²_seeds/S + σ²_rest/(S·W)
    rest_SW = y_SW - mean_S[:, None] - mean_W + mean
    inside = float(np.mean(window_errors(rest_SW, overlap) ** 2)) / (n - 1)  # σ²_rest/(S·W), counted twice above
    variance = max(text + seeds - inside, text, seeds)
    parts = (seeds**2 / (n - 1), text**2 / (width - 1))
    df = variance**2 / max(sum(parts), np.finfo(float).tiny)
    half = float(stats.t.ppf((1 + level) / 2, df)) * np.sqrt(variance)
    return CrossedInterval(
        mean, np.sqrt(seeds), np.sqrt(text), np.sqrt(variance), df, mean - half, mean + half, n, width
    )
