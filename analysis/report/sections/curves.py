"""Loss, perplexity and position loss along training."""

import pandas as pd

from trajlab.analysis.conditions import with_condition
from trajlab.analysis.figures.curves import interval_curves, position_curves
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section


def section(runs: Runs) -> Section | None:
    """Curves of every experiment, and what the runs ended with."""
    if runs.intervals.empty:
        return None
    part = Section("Curves")
    for experiment, frame in runs.intervals.groupby("experiment"):
        own = runs.select(experiment=experiment)
        floor = own.entropy_floor("valid")
        part.figure(
            interval_curves(frame, "loss", caption=own.caption, floor=floor),
            f"{experiment}_loss",
            _seeds("Validation loss"),
        )
        part.figure(
            interval_curves(frame, "ppl", caption=own.caption), f"{experiment}_perplexity", _seeds("Perplexity")
        )
        if not own.positions.empty:
            for condition, rows in with_condition(own.positions).groupby("condition"):
                name = "_".join(w for w in (str(experiment), str(condition)) if w).replace("=", "-").replace(",", "_")
                words = f"Loss by position{f', {condition}' if condition else ''}."
                part.figure(position_curves(rows, caption=own.caption), f"{name}_positions", words)
        part.table(_summary(frame), "First, lowest and last loss, means over the runs of a condition.")
    return part


def _seeds(what: str) -> str:
    return f"{what}: each run thin, the mean with its 95 % interval thick."


def _summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over the runs of each condition, never over conditions."""
    frame, keys = with_condition(frame), ["condition", "variant", "split"]
    mean = frame.groupby([*keys, "tokens"], as_index=False)[["loss", "ppl"]].mean()
    groups = mean.groupby(keys)
    best = mean.loc[groups["loss"].idxmin()].set_index(keys)
    first, last = groups.first(), groups.last()
    table = best[["tokens", "loss"]].rename(columns={"tokens": "tokens at lowest", "loss": "lowest loss"})
    table.insert(0, "first loss", first["loss"])
    table["last loss"], table["mean of last perplexities"] = last["loss"], last["ppl"]
    table["runs"] = frame.groupby(keys)["run"].nunique()
    table = table.reset_index()
    return table if len(table["condition"].unique()) > 1 else table.drop(columns="condition")
