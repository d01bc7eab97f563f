"""Stability: volatility, backslides, drawdown, spikes, stable phase, spread of seeds."""

import numpy as np
import pandas as pd

from trajlab.analysis.conditions import Condition, conditions
from trajlab.analysis.figures.stability import backslide_map, stability_panels, step_loss
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section
from trajlab.analysis.stability import (
    between_seeds,
    seed_agreement,
    stability,
    stability_summary,
)
from trajlab.analysis.step_spikes import spike_scores, step_spikes


def section(runs: Runs) -> Section | None:
    """Telemetry of every condition's raw weights; what a condition can't give is said in its place."""
    part = Section("Stability")
    for condition in conditions(runs):
        part.condition(condition.name, condition.seeds)
        try:
            _intervals(part, condition)
            _steps(part, condition)
        except ValueError as e:
            part.problem(f"Not computed: {e}.")
    return part if part.blocks else None


def _intervals(part: Section, condition: Condition) -> None:
    telemetry = stability(condition.intervals)
    spread = between_seeds(condition.intervals)
    part.figure(
        stability_panels(telemetry, spread, caption=condition.caption),
        f"{condition.name}_stability",
        "Change of loss per interval (the first fall is cut off), sd of the last five losses, loss above the lowest so far, "
        "each seed's loss above the mean of the seeds.",
        alt=_slid_words(telemetry),
    )
    part.text(_slid_words(telemetry))
    if telemetry["backslide"].any():
        part.figure(
            backslide_map(telemetry, caption=condition.caption),
            f"{condition.name}_backslides",
            "Where each seed's loss rose, and where it rose beyond twice the paired standard error of its validation windows.",
            alt=_slid_words(telemetry),
        )
    summary = stability_summary(telemetry).drop(columns=["experiment", "variant", "split", "seed"], errors="ignore")
    part.table(summary, "Per run; rises and spikes in intervals.")
    part.text(_stable_words(summary))
    part.table(_by_interval(telemetry, spread), "Per interval: mean over seeds, and how many seeds rose.", folded=True)
    if condition.seeds > 1:
        icc = seed_agreement(condition.intervals)
        part.text(
            f"Agreement of seeds over the whole grid, ICC(A,1) = {icc['icc']:.4f} ({_interval_words(icc)}). "
            "Largest coefficient of variation between seeds: "
            f"{100 * spread['cv'].max():.2f} % at interval {spread.loc[spread['cv'].idxmax(), 'interval']}."
        )


def _interval_words(icc: pd.Series) -> str:
    if np.isnan(icc["ci_low"]):
        return f"no interval of {icc['n']:.0f} seeds: it takes four"
    return f"95 % CI {icc['ci_low']:.4f} to {icc['ci_high']:.4f}"


def _stable_words(summary: pd.DataFrame) -> str:
    stable = summary[summary["stable_intervals"] > 0]
    if stable.empty:
        return "No run has a stable phase: three intervals in a row with changes and volatility under 1 % of the loss and no rise."
    places = ", ".join(
        f"{run} from interval {start:.0f}" for run, start in zip(stable["run"], stable["stable_from"], strict=True)
    )
    return f"Stable phase in {len(stable)} of {len(summary)} runs: {places}."


def _by_interval(telemetry: pd.DataFrame, spread: pd.DataFrame) -> pd.DataFrame:
    by = telemetry.assign(beyond=telemetry["backslide_2se"].fillna(False).astype(bool)).groupby("interval")
    slid = by.agg(
        volatility=("volatility", "mean"),
        backslides=("backslide", "sum"),
        beyond_2se=("beyond", "sum"),
        drawdown=("drawdown", "mean"),
    )
    shown = spread[["interval", "tokens", "mean", "sd", "cv", "min", "max", "ci_low", "ci_high"]]
    return shown.merge(slid, left_on="interval", right_index=True).dropna(axis=1, how="all")


def _steps(part: Section, condition: Condition) -> None:
    if condition.steps.empty:
        return
    shortest = int(condition.steps.groupby("run").size().min())
    window = spike_window(shortest)
    if window is None:
        part.text(f"Step spikes are not judged: {shortest} steps are too few to know what is usual.")
        return
    steps = step_spikes(condition.steps, window=window, history=min(100, window))
    part.figure(
        step_loss(steps, caption=condition.caption, every=max(1, len(steps) // 20_000)),
        f"{condition.name}_steps",
        f"Loss of every training step; crosses: 7 sd above the mean of the {window:,} steps before. A sawtooth is the epochs': "
        "loss falls as a text is seen again.",
    )
    scores = spike_scores(steps).drop(columns=["experiment", "seed"], errors="ignore")
    part.table(
        scores,
        f"Step spikes; the score is their percentage (OLMo 2), judged from step {min(100, window) + 1} on, against {window:,} "
        f"steps before{'' if window == 1000 else ' (1,000 as published are too many here: the fall of the loss would hide a spike)'}.",
    )


def spike_window(steps: int) -> int | None:
    """Steps before a step that say what is usual: 1,000 as published, a twentieth of a shorter run; None under 20 of them.

    Over a run of 1,000 steps a window of 1,000 holds the fall of the loss itself, whose sd hides a spike of 8 nats.
    """
    window = min(1000, steps // 20)
    return window if window >= 20 else None


def _slid_words(telemetry: pd.DataFrame) -> str:
    beyond = int(telemetry["backslide_2se"].fillna(False).astype(bool).sum())
    of = int(telemetry["delta"].notna().sum())
    return f"The loss rose at {int(telemetry['backslide'].sum())} of {of} intervals of all seeds, at {beyond} beyond two standard errors."
