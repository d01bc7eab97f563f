"""Weight averages: what they gain, where, and against what."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from trajlab.analysis import averaging_gain as ag
from trajlab.analysis.figures import averaging as figures
from trajlab.analysis.load import Runs, without_seed
from trajlab.analysis.report.section import Section

SETTLED = 0.1
"""Share of a run after which means are taken: before it an average that lags says nothing about averaging."""


def section(runs: Runs) -> Section | None:
    """Nothing unless some run has a variant beside raw."""
    if runs.intervals.empty or (runs.intervals["variant"] == "raw").all():
        return None
    part = Section("Averaging along the trajectory")
    intervals = _with_conditions(runs)
    for (experiment, condition), frame in intervals.groupby(["experiment", "condition"]):
        if (frame["variant"] != "raw").any():
            _one_condition(part, runs, frame, f"{experiment} {condition}".strip())
    _learning_rates(part, runs, intervals)
    _annealed(part, runs, intervals)
    return part


def _with_conditions(runs: Runs) -> pd.DataFrame:
    """Table intervals with the run's condition (its name without the seed) and learning rate."""
    frame = runs.intervals
    for facts in (ag.learning_rates(_configured(runs)), ag.run_setups(_configured(runs))):
        frame = frame.merge(facts, on=["experiment", "run"], how="left")
    return frame.assign(condition=frame["run"].map(without_seed))


def _configured(runs: Runs) -> list[dict[str, Any]]:
    return [m for m in runs.manifests if "schedule" in m.get("config", {})]


def _one_condition(part: Section, runs: Runs, frame: pd.DataFrame, name: str) -> None:
    slug = name.replace(" ", "_").replace("=", "_").replace(",", "")
    variants = [v for v in frame["variant"].unique() if v != "raw"]
    gains = ag.gain(frame)
    part.figure(
        figures.gain_curves(gains, caption=runs.caption, title=f"Gain along training: {name}"),
        f"{slug}_gain",
        "Raw loss minus the average's, each run thin, means with 95 % intervals. Below zero averaging does harm.",
    )
    part.table(_gain_table(gains), f"{name}: mean gain in nats in each quarter of the run, 95 % intervals over runs.")
    saved = pd.concat([ag.tokens_saved(frame, v) for v in variants])
    part.figure(
        figures.saved_figure(saved, caption=runs.caption, title=f"Tokens saved: {name}"),
        f"{slug}_saved",
        "Targets are the losses that every run reaches raw after 25, 50, 75 and 100 % of its tokens.",
    )
    part.table(saved_table(saved), f"{name}: tokens to a target, raw and averaged, means over runs.")
    gaps = pd.concat([ag.longest_gap(frame, v) for v in variants])
    part.table(
        _gap_table(gaps),
        f"{name}: the longest gap, the target at which the average is furthest ahead. It is the largest of many "
        "differences and over 0 without any gain: read what is beyond the longest gap the other way.",
    )
    windows = ag.averager_windows([m for m in _configured(runs) if m["experiment"] == frame["experiment"].iloc[0]])
    curve = ag.window_curve(gains, windows)
    if len(curve["window_share"].dropna().unique()) > 1:
        part.figure(
            figures.window_figure(curve, caption=runs.caption, title=f"Window length: {name}"),
            f"{slug}_windows",
            "An EMA's window is 1/(1 − decay) updates. Dashed: the rule of 1 % of the budget.",
        )
    _spikes(part, runs, frame, variants, name, slug)


def _spikes(part: Section, runs: Runs, frame: pd.DataFrame, variants: Sequence[str], name: str, slug: str) -> None:
    spikes = pd.concat([ag.spike_mitigation(frame, v) for v in variants], ignore_index=True)
    if spikes.empty:
        part.text(f"{name}: no interval spikes, so there is nothing to mitigate.")
        return
    by = ["split", "variant", "tokens"]
    means = spikes.groupby(by, as_index=False).agg(
        rise_baseline=("rise_baseline", "mean"),
        rise_variant=("rise_variant", "mean"),
        mean=("ratio", "mean"),
        n=("ratio", "count"),
    )
    part.table(
        means,
        f"{name}: rise at each spike of raw, in nats; mean ratio of the rises (0: gone), a description without an interval: "
        "spikes are where raw is high, also by chance.",
    )
    largest = spikes.loc[spikes["rise_baseline"].idxmax()]
    part.figure(
        figures.spike_figure(frame[frame["split"] == largest["split"]], largest["tokens"], caption=runs.caption),
        f"{slug}_spike",
        f"{name}: loss around the largest spike.",
    )


def _learning_rates(part: Section, runs: Runs, intervals: pd.DataFrame) -> None:
    for experiment, frame in intervals.groupby("experiment"):
        if frame["peak_lr"].nunique() < 2 or (frame["variant"] == "raw").all():
            continue
        rates = frame[["experiment", "run", "peak_lr"]].drop_duplicates()
        gains = ag.gain(frame).merge(rates, on=["experiment", "run"])
        part.figure(
            figures.learning_rate_figure(gains, caption=runs.caption),
            f"{experiment}_gain_by_rate",
            "Mean gain after the first tenth of the run, against the peak learning rate.",
        )
        settled = (
            gains[gains["progress"] > SETTLED].groupby(["variant", "peak_lr", "run"], as_index=False)["gain"].mean()
        )
        part.table(
            ag.over_seeds(settled, "gain", ["variant", "peak_lr"]), f"{experiment}: mean gain in nats by learning rate."
        )


def _annealed(part: Section, runs: Runs, intervals: pd.DataFrame) -> None:
    """Long runs with averages against short ones of the same seed and rate that were annealed to zero."""
    averaged = intervals.groupby(["experiment", "run"])["variant"].transform("nunique") > 1
    short = intervals[(intervals["final_ratio"] == 0) & ~averaged]
    for experiment, long in intervals[averaged & (intervals["final_ratio"] > 0)].groupby("experiment"):
        table = ag.against_annealed(long, short, ["seed", "peak_lr"])
        for rate, frame in table.groupby("peak_lr") if len(table) else ():
            part.figure(
                figures.annealed_figure(
                    frame, caption=runs.caption, title=f"Against annealing: {experiment}, rate {rate:g}"
                ),
                f"{experiment}_annealed_{rate:g}",
                "Above zero a run that was annealed to zero at these tokens beats the average.",
            )
            part.table(
                _annealed_table(frame), f"{experiment}, rate {rate:g}: losses, and how far behind annealed runs."
            )


def _annealed_table(table: pd.DataFrame) -> pd.DataFrame:
    by = ["split", "budget", "variant"]
    means = table.groupby(by, as_index=False)[["annealed_loss", "loss"]].mean()
    behind = ag.over_seeds(table, "behind", by)
    behind["behind"] = [_interval(r.mean, r.ci_low, r.ci_high, "+.4f") for r in behind.itertuples()]
    return means.merge(behind[[*by, "behind", "n"]], on=by)


def _gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    quarters = gains.assign(until=(gains["progress"] * 4).clip(lower=1e-9).apply(lambda x: -(-x // 1)) / 4)
    means = quarters.groupby(["split", "variant", "run", "until"], as_index=False)["gain"].mean()
    table = ag.over_seeds(means, "gain", ["split", "variant", "until"])
    table["shown"] = [_interval(r.mean, r.ci_low, r.ci_high, "+.4f") for r in table.itertuples()]
    wide = table.pivot_table("shown", ["split", "variant"], "until", aggfunc="first")
    wide.columns = [f"to {share:.0%}" for share in wide.columns]
    return wide.fillna("–").reset_index()


def saved_table(saved: pd.DataFrame) -> pd.DataFrame:
    """Targets, tokens raw, tokens averaged, saved with its interval, and how many runs reached both."""
    by = ["split", "variant", "target_at", "target"]
    table = ag.over_seeds(saved, "tokens_saved", by)
    both = saved[saved["reached"] == "both"]
    means = both.groupby(by, as_index=False)[["tokens_baseline", "tokens_variant"]].mean()
    table = means.merge(table, on=by)
    table["saved"] = [_interval(r.mean, r.ci_low, r.ci_high, ",.0f") for r in table.itertuples()]
    table = table.drop(columns=["mean", "ci_low", "ci_high"]).rename(
        columns={"target_at": "raw reaches it at", "tokens_baseline": "tokens raw", "tokens_variant": "tokens averaged"}
    )
    return table.round({"tokens raw": 0, "tokens averaged": 0})


def _gap_table(gaps: pd.DataFrame) -> pd.DataFrame:
    by = ["split", "variant"]
    table = ag.over_seeds(gaps, "tokens_saved", by)
    table["longest gap (tokens)"] = [_interval(r.mean, r.ci_low, r.ci_high, ",.0f") for r in table.itertuples()]
    means = gaps.groupby(by, as_index=False)[["target", "hours_saved", "never_reached"]].mean()
    means = means.rename(columns={"hours_saved": "hours", "never_reached": "nats that raw never reaches"})
    excess = ag.over_seeds(gaps, "excess", by)
    table["beyond the longest gap the other way"] = [
        _interval(r.mean, r.ci_low, r.ci_high, ",.0f") for r in excess.itertuples()
    ]
    return table[[*by, "longest gap (tokens)", "beyond the longest gap the other way", "n"]].merge(means, on=by)


def _interval(mean: float, low: float, high: float, spec: str) -> str:
    return f"{mean:{spec}}" if low != low else f"{mean:{spec}} [{low:{spec}}, {high:{spec}}]"
