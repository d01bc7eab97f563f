"""What averaging the weights along training gains (methods.md §4).

`gain` the loss that an average has below the raw weights at each interval; `tokens_saved` and `longest_gap` the tokens
(and hours) by which it is earlier at a target; `spike_mitigation` how much of a spike is left in it; `averager_windows`
and `window_curve` the gain against the window's length; `against_annealed` the comparison with runs whose learning rate
was annealed to zero at the same tokens; `over_seeds` means with intervals over runs. Frames in, frames out: table
`intervals` and the manifests of `trajlab.analysis.load`. Legend: K intervals, W validation windows.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.stability import stability
from trajlab.analysis.statistics.intervals import t_interval

RUN = ["experiment", "run", "seed", "split"]
"""What tells one run's curves from another's."""

QUARTERS = (0.25, 0.5, 0.75, 1.0)


# ---- gain at each interval


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


def _windows(frame: pd.DataFrame) -> Iterable[Any]:
    if "window_nll" not in frame:
        return [None] * len(frame)
    means = zip(frame["window_nll"], frame["token_count"], strict=True)
    return [None if w is None else np.asarray(w, float) * len(w) / count for w, count in means]


def _paired_se(a_W: NDArray[np.float64] | None, b_W: NDArray[np.float64] | None) -> float:
    if a_W is None or b_W is None or len(a_W) < 2:
        return float("nan")
    return float(np.std(a_W - b_W, ddof=1) / np.sqrt(len(a_W)))


# ---- tokens to a target


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
        for keys, raw, average in _pairs(frame, variant, baseline):
            for target, at in chosen.items():
                rows.append({**keys, "variant": variant, "target_at": at, **_saving(raw, average, target)})
    return pd.DataFrame(rows)


def longest_gap(intervals: pd.DataFrame, variant: str, baseline: str = "raw") -> pd.DataFrame:
    """A row per run × split: the target at which the variant is ahead by the most tokens, among those both reach.

    nan where they reach none together. ``never_reached`` is the loss range below the baseline's lowest that the variant alone reaches, in nats: there the
    saving is beyond what the run can show.
    """
    rows = []
    for keys, raw, average in _pairs(intervals, variant, baseline):
        levels = np.concatenate([np.minimum.accumulate(c["loss"].to_numpy(float)) for c in (raw, average)])
        lowest = max(raw["loss"].min(), average["loss"].min())
        # a curve that falls below an earlier minimum only later makes the gap jump just below that level
        candidates = np.unique([*levels, *np.nextafter(levels, -np.inf)])
        savings = [_saving(raw, average, float(level)) for level in candidates[candidates >= lowest]]
        best = max(savings, key=lambda s: np.nan_to_num(s["tokens_saved"], nan=-np.inf))
        ahead = max(raw["loss"].min() - average["loss"].min(), 0.0)
        rows.append({**keys, "variant": variant, **best, "never_reached": ahead})
    return pd.DataFrame(rows)


def _pairs(
    intervals: pd.DataFrame, variant: str, baseline: str
) -> Iterable[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Baseline and variant curves of every run and split that have both."""
    for keys, frame in intervals.groupby(RUN, dropna=False):
        curves = [frame[frame["variant"] == v].sort_values("tokens") for v in (baseline, variant)]
        if all(len(c) for c in curves):
            yield dict(zip(RUN, keys, strict=True)), curves[0], curves[1]


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
    ours, theirs = (
        first_reached(c["tokens"].to_numpy(float), c["loss"].to_numpy(float), target) for c in (average, raw)
    )
    names = {(True, True): "both", (True, False): "variant", (False, True): "baseline", (False, False): "neither"}
    reached = names[not np.isnan(ours), not np.isnan(theirs)]
    if average["loss"].iloc[0] <= target:  # when it would have been there is unknown: it begins below
        ours, reached = float("nan"), "before"
    return {
        "target": target,
        "tokens_baseline": theirs,
        "tokens_variant": ours,
        "tokens_saved": theirs - ours,
        "hours_saved": _hours(raw, theirs) - _hours(raw, ours),
        "reached": reached,
    }


def _hours(raw: pd.DataFrame, tokens: float) -> float:
    """Training time of the baseline up to ``tokens``; nan where none was recorded."""
    if "seconds_train" not in raw or raw["seconds_train"].isna().all() or np.isnan(tokens):
        return float("nan")
    return float(np.interp(tokens, raw["tokens"], raw["seconds_train"].fillna(0).cumsum()) / 3600)


# ---- spikes


def spike_mitigation(
    intervals: pd.DataFrame, variant: str, baseline: str = "raw", window: int = 3, history: int = 5
) -> pd.DataFrame:
    """A row per run × split × interval spike (`stability`) of the baseline: how much of its rise the variant has.

    The rise is the highest loss from the spike to ``window`` intervals later, minus the loss at the interval before
    it **(ours)**; ``ratio`` = the variant's rise ÷ the baseline's: 1 nothing is mitigated, 0 or less the variant doesn't
    rise. Spikes within a window of an earlier one belong to that one. No rows where nothing spikes.
    """
    rows = []
    for keys, raw, average in _pairs(intervals, variant, baseline):
        both = raw[["interval", "tokens", "loss"]].merge(
            average[["interval", "loss"]], on="interval", suffixes=("", "_variant")
        )
        spiking = stability(raw, spike_history=history).set_index("interval")["spike"]
        rising = both["loss"].diff() > 0  # a curve that only slows down has nothing to mitigate
        last = -window - 1
        for t in map(int, np.flatnonzero(both["interval"].map(spiking).to_numpy(bool) & rising)):
            if t - last <= window:
                continue
            last = t
            around = both.iloc[t - 1 : t + window + 1]
            rise, ours = (float(around[c].iloc[1:].max() - around[c].iloc[0]) for c in ("loss", "loss_variant"))
            rows.append(
                {
                    **keys,
                    "variant": variant,
                    "interval": both["interval"][t],
                    "tokens": both["tokens"][t],
                    "rise_baseline": rise,
                    "rise_variant": ours,
                    "ratio": ours / rise,
                }
            )
    return pd.DataFrame(rows)


# ---- window length, learning rate


def averager_windows(manifests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per run × averager of its configuration: how long its window is, in tokens and as a share of the budget.

    A LAWA's or merge's window is k snapshots; an EMA's is 1/(1 − decay) of its updates. SWA, whose window grows, has none.
    """
    rows = []
    for manifest in manifests:
        config = manifest["config"]
        per_step = config["data"]["windows_per_step"] * config["data"]["context"]
        for node in _averagers(config):
            kind = node["_target_"].rsplit(".", 1)[-1]
            every = node.get("every_tokens") or (node.get("every_steps") or 1) * per_step
            length = {"ema": 1 / (1 - node.get("decay", 0.999)), "swa": np.nan}.get(kind, node.get("k", 5))
            rows.append(
                {
                    "experiment": manifest["experiment"],
                    "run": manifest["run"],
                    "variant": _variant(kind, node),
                    "kind": kind,
                    "window_tokens": length * every,
                    "window_share": length * every / config["intervals"]["budget_tokens"],
                }
            )
    columns = ["experiment", "run", "variant", "kind", "window_tokens", "window_share"]
    return pd.DataFrame(rows, columns=columns)


def _averagers(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nodes = [c["averagers"] for c in config["callbacks"].values() if c and "averagers" in c]
    return [a for node in nodes for a in (node.values() if isinstance(node, Mapping) else node) if a]


def _variant(kind: str, node: Mapping[str, Any]) -> str:
    names = {
        "lawa": f"lawa{node.get('k', 5)}",
        "ema": f"ema{node.get('decay', 0.999):g}",
        "swa": "swa",
        "merge": f"merge{node.get('k', 5)}_{node.get('decay', 'linear')}",
    }
    return str(node.get("name") or names.get(kind, kind))


def window_curve(gains: pd.DataFrame, windows: pd.DataFrame, parts: int = 4) -> pd.DataFrame:
    """A row per run × split × variant × part of the run: mean gain in that part, against the window's share.

    ``gains`` from `gain`, ``windows`` from `averager_windows`; ``until`` is the part's end as a share of the run.
    """
    frame = gains.merge(windows, on=["experiment", "run", "variant"])
    frame["until"] = np.ceil(frame["progress"] * parts).clip(lower=1) / parts
    keys = [*RUN, "variant", "kind", "window_tokens", "window_share", "until"]
    return frame.groupby(keys, dropna=False, as_index=False)["gain"].mean()


def learning_rates(manifests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per run: its ``peak_lr`` and the ``final_ratio`` its schedule ends at (1 for a constant rate)."""
    rows = []
    for m in manifests:
        config = m["config"]
        ratio = config["schedule"].get("final_ratio", 1.0)
        rows.append(
            {
                "experiment": m["experiment"],
                "run": m["run"],
                "peak_lr": config["optimizer"].get("lr"),
                "final_ratio": ratio,
            }
        )
    return pd.DataFrame(rows, columns=["experiment", "run", "peak_lr", "final_ratio"])


# ---- fairness


def against_annealed(intervals: pd.DataFrame, annealed: pd.DataFrame, match: Sequence[str] = ("seed",)) -> pd.DataFrame:
    """A row per annealed run × split × variant of the long run with the same ``match`` columns at the same tokens.

    ``behind`` = the variant's loss − the annealed run's last: positive where averaging is no substitute for annealing.
    The long run is read between intervals on a straight line; annealed runs beyond its end have no row.
    """
    keys = [*match, "split"]
    ends = (
        annealed[annealed["variant"] == "raw"]
        .sort_values("tokens")
        .groupby(["experiment", "run", *keys], dropna=False)
        .tail(1)
    )
    curves = {k: c.sort_values("tokens") for k, c in intervals.groupby([*keys, "variant"])}
    rows = []
    for _, end in ends.iterrows():
        for (*at, variant), curve in curves.items():
            here = tuple(at) == tuple(end[k] for k in keys)
            if here and curve["tokens"].iloc[0] <= end["tokens"] <= curve["tokens"].iloc[-1]:
                loss = float(np.interp(end["tokens"], curve["tokens"], curve["loss"]))
                rows.append(
                    {
                        **{k: end[k] for k in keys},
                        "budget": _budget(end["tokens"], curve),
                        "tokens": end["tokens"],
                        "variant": variant,
                        "annealed_loss": end["loss"],
                        "loss": loss,
                        "behind": loss - end["loss"],
                    }
                )
    return pd.DataFrame(rows)


def _budget(tokens: float, curve: pd.DataFrame) -> float:
    """The share of the long run, to a percent."""
    return round(tokens / curve["tokens"].iloc[-1], 2)


# ---- over runs


def over_seeds(frame: pd.DataFrame, value: str, by: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """Mean of ``value`` over runs with its t-based interval: ``mean``, ``ci_low``, ``ci_high``, ``n``; nan are left out.

    One run has a mean and no interval.

    >>> over_seeds(pd.DataFrame({"v": ["a", "a"], "x": [1.0, 3.0]}), "x", ["v"])[["mean", "n"]].to_numpy().tolist()
    [[2.0, 2.0]]
    """
    groups = frame.dropna(subset=[value]).groupby(list(by), dropna=False)[value]
    table = groups.agg(mean="mean", sd="std", n="count").reset_index()
    error = table["sd"] / np.sqrt(table["n"])
    table["ci_low"], table["ci_high"] = t_interval(table["mean"], error, table["n"], level)
    return table.drop(columns="sd")
