"""Loss, perplexity and position loss along training."""

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
            part.figure(
                position_curves(own.positions, caption=own.caption), f"{experiment}_positions", "Loss by position."
            )
        part.table(_summary(frame), "First, lowest and last loss, means over runs.")
    return part


def _seeds(what: str) -> str:
    return f"{what}: each run thin, the mean with its 95 % interval thick."


def _summary(frame):  # type: ignore[no-untyped-def]
    mean = frame.groupby(["variant", "split", "tokens"], as_index=False)[["loss", "ppl"]].mean()
    groups = mean.groupby(["variant", "split"])
    best = mean.loc[groups["loss"].idxmin()].set_index(["variant", "split"])
    first, last = groups.first(), groups.last()
    table = best[["tokens", "loss"]].rename(columns={"tokens": "tokens at lowest", "loss": "lowest loss"})
    table.insert(0, "first loss", first["loss"])
    table["last loss"], table["mean of last perplexities"] = last["loss"], last["ppl"]
    return table.reset_index()
