"""The loss that an average has below the raw weights at each interval. Legend: W validation windows."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.averaging_gain.curves import RUN
from trajlab.analysis.statistics.text_errors import overlap_of, window_errors


def gain(intervals: pd.DataFrame, baseline: str = "raw") -> pd.DataFrame:
    """A row per run × split × interval × variant: ``gain`` = baseline loss − variant loss in nats, positive is better.

    ``gain_se`` is the standard error for other text, paired over validation windows (which may share text), where
    ``window_nll`` is there; ``progress`` the
    share of the run's tokens. Raises ValueError where a run has a variant but not the baseline.
    """
    keys = ["experiment", "run", "split", "interval"]  # the run's name tells its seed, which a published series lacks
    raw = intervals[intervals["variant"] == baseline].set_index(keys)
    rest = intervals[intervals["variant"] != baseline]
    if absent := set(map(tuple, rest[keys].to_numpy())) - set(raw.index):
        raise ValueError(
            f"no {baseline} row beside the variants of {sorted(absent)[0]} (experiment, run, split, interval)"
        )
    rows = rest[[*RUN, "interval", "variant", "tokens", "loss"]].copy()
    beside = raw.loc[pd.MultiIndex.from_frame(rest[keys])]
    rows["baseline_loss"] = beside["loss"].to_numpy()
    rows["gain"] = rows["baseline_loss"] - rows["loss"]
    rows["gain_se"] = _gain_errors(beside, rest)
    rows["progress"] = rows["tokens"] / rows.groupby(RUN, dropna=False)["tokens"].transform("max")
    return rows.reset_index(drop=True)


def _gain_errors(beside: pd.DataFrame, rest: pd.DataFrame) -> NDArray[np.float64]:
    """Standard errors, row by row, of the variants' gains; windows that share text are told by all intervals of a curve."""
    error_R = np.full(len(rest), np.nan)
    pairs = list(zip(_windows(beside), _windows(rest), strict=True))
    curve_R = rest.groupby([*RUN, "variant"], dropna=False).ngroup().to_numpy()
    sizes_R = np.array([0 if a is None or b is None or len(a) != len(b) else len(a) for a, b in pairs])
    for curve, size in sorted(set(zip(curve_R.tolist(), sizes_R.tolist(), strict=True))):
        own = np.flatnonzero((curve_R == curve) & (sizes_R == size))
        if size >= 2:
            gain_DW = np.stack([a - b for a, b in (pairs[i] for i in own) if a is not None and b is not None])
            error_R[own] = window_errors(gain_DW, overlap_of(rest.iloc[own]))
    return error_R


def _windows(frame: pd.DataFrame) -> Iterable[NDArray[np.float64] | None]:
    if "window_nll" not in frame:
        return [None] * len(frame)
    means = zip(frame["window_nll"], frame["token_count"], strict=True)
    return [None if w is None else np.asarray(w, float) * len(w) / count for w, count in means]
