"""How many tokens, and hours, an average is earlier at a loss than its baseline. Legend: K intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.averaging_gain.curves import RUN, curve_pairs

QUARTERS = (0.25, 0.5, 0.75, 1.0)


def first_reached(tokens_K: NDArray[np.float64], loss_K: NDArray[np.float64], target: float) -> float:
    """Tokens at which a curve is first at or below ``target``, straight between intervals; nan where it never is.

    >>> first_reached(np.array([0.0, 10, 20]), np.array([4.0, 3, 1]), 2.0)
    15.0
    """
    below = np.flatnonzero(loss_K <= target)
    if not len(below):
        return float("nan")
    i = below[0]
    if i == 0:
        return float(tokens_K[0])
    share = (loss_K[i - 1] - target) / (loss_K[i - 1] - loss_K[i])
    return float(tokens_K[i - 1] + share * (tokens_K[i] - tokens_K[i - 1]))


def tokens_saved(
    intervals: pd.DataFrame, variant: str, baseline: str = "raw", targets: Sequence[float] | None = None
) -> pd.DataFrame:
    """A row per run × split × target: how many tokens earlier the variant is at a loss than the baseline.

    ``tokens_variant``, ``tokens_baseline`` and their difference ``tokens_saved`` are nan where a curve never reaches the
    target; ``reached`` says which did, ``before`` that the variant begins below it. ``hours_saved`` is the baseline's training time between the two. Default targets
    of a split: the losses that every run's baseline has reached after a quarter, half, three quarters and all of its
    tokens (the worst run's lowest), with that share in ``target_at`` **(ours)**.
    """
    rows = []
    for _, frame in intervals.groupby("split"):
        chosen = dict.fromkeys(targets, np.nan) if targets is not None else _quarter_targets(frame, baseline)
        for keys, raw, average in curve_pairs(frame, variant, baseline):
            for target, at in chosen.items():
                rows.append({**keys, "variant": variant, "target_at": at, **_saving(raw, average, target)})
    return pd.DataFrame(rows)


def longest_gap(intervals: pd.DataFrame, variant: str, baseline: str = "raw") -> pd.DataFrame:
    """A row per run × split: the target at which the variant is ahead by the most tokens, among those both reach.

    ``tokens_saved`` is the largest of many differences and so over 0 without any gain: noise alone gave intervals over 0 in
    80 % of data sets. ``tokens_behind`` is the same of the baseline ahead of the variant, and ``excess`` = saved − behind has mean 0 where
    the two curves could be exchanged: conclusions are drawn from that.
    nan where they reach none together. ``never_reached`` is the loss range below the baseline's lowest that the variant alone reaches, in nats: there the
    saving is beyond what the run can show.
    """
    rows = []
    for keys, raw, average in curve_pairs(intervals, variant, baseline):
        levels = np.concatenate([np.minimum.accumulate(c["loss"].to_numpy(float)) for c in (raw, average)])
        lowest = max(raw["loss"].min(), average["loss"].min())
        # a curve that falls below an earlier minimum only later makes the gap jump just below that level
        candidates = np.unique([*levels, *np.nextafter(levels, -np.inf)])
        levels_L = candidates[candidates >= lowest]
        saved_L = np.array([_tokens_saved(raw, average, float(level)) for level in levels_L])
        behind = max(0.0, *np.nan_to_num([_tokens_saved(average, raw, float(level)) for level in levels_L]))
        best = _saving(raw, average, float(levels_L[np.argmax(np.nan_to_num(saved_L, nan=-np.inf))]))
        ahead = max(raw["loss"].min() - average["loss"].min(), 0.0)
        excess = {"tokens_behind": behind, "excess": max(0.0, best["tokens_saved"]) - behind}
        rows.append({**keys, "variant": variant, **best, **excess, "never_reached": ahead})
    return pd.DataFrame(rows)


def _tokens_saved(raw: pd.DataFrame, average: pd.DataFrame, target: float) -> float:
    """nan where a curve never reaches the target, and where the average begins below it: when it was there is unknown."""
    if average["loss"].iloc[0] <= target:
        return float("nan")
    return _tokens_at(raw, target) - _tokens_at(average, target)


def _tokens_at(curve: pd.DataFrame, target: float) -> float:
    return first_reached(curve["tokens"].to_numpy(float), curve["loss"].to_numpy(float), target)


def _quarter_targets(frame: pd.DataFrame, baseline: str) -> dict[float, float]:
    """Loss by share of the run: the worst run's lowest by then."""
    raw = frame[frame["variant"] == baseline]
    targets = {}
    for share in QUARTERS:
        lowest = [
            r.loc[r["tokens"] <= share * r["tokens"].max(), "loss"].min()
            for _, r in raw.groupby(RUN[:-1], dropna=False)
        ]
        targets[float(np.max(lowest))] = share
    return targets


def _saving(raw: pd.DataFrame, average: pd.DataFrame, target: float) -> dict[str, Any]:
    ours, theirs = _tokens_at(average, target), _tokens_at(raw, target)
    names = {(True, True): "both", (True, False): "variant", (False, True): "baseline", (False, False): "neither"}
    reached = names[not np.isnan(ours), not np.isnan(theirs)]
    if average["loss"].iloc[0] <= target:
        ours, reached = float("nan"), "before"
    return {
        "target": target,
        "tokens_baseline": theirs,
        "tokens_variant": ours,
        "tokens_saved": _tokens_saved(raw, average, target),
        "hours_saved": _hours(raw, theirs) - _hours(raw, ours),
        "reached": reached,
    }


def _hours(raw: pd.DataFrame, tokens: float) -> float:
    """Training time of the baseline up to ``tokens``; nan where none was recorded."""
    if "seconds_train" not in raw or raw["seconds_train"].isna().all() or np.isnan(tokens):
        return float("nan")
    return float(np.interp(tokens, raw["tokens"], raw["seconds_train"].fillna(0).cumsum()) / 3600)
