"""The loss that an average has below the raw weights at each interval. Legend: W validation windows."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.averaging_gain.curves import RUN


def gain(intervals: pd.DataFrame, baseline: str = "raw") -> pd.DataFrame:
    """A row per run × split × interval × variant: ``gain`` = baseline loss − variant loss in nats, positive is better.

    ``gain_se`` is the standard error paired over validation windows, where ``window_nll`` is there; ``progress`` the
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
    rows["gain_se"] = [_paired_se(a, b) for a, b in zip(_windows(beside), _windows(rest), strict=True)]
    rows["progress"] = rows["tokens"] / rows.groupby(RUN, dropna=False)["tokens"].transform("max")
    return rows.reset_index(drop=True)


def _windows(frame: pd.DataFrame) -> Iterable[NDArray[np.float64] | None]:
    if "window_nll" not in frame:
        return [None] * len(frame)
    means = zip(frame["window_nll"], frame["token_count"], strict=True)
    return [None if w is None else np.asarray(w, float) * len(w) / count for w, count in means]


def _paired_se(a_W: NDArray[np.float64] | None, b_W: NDArray[np.float64] | None) -> float:
    if a_W is None or b_W is None or len(a_W) < 2:
        return float("nan")
    return float(np.std(a_W - b_W, ddof=1) / np.sqrt(len(a_W)))
