"""Loss, perplexity and position loss along training."""

import numpy as np
import pandas as pd

from trajlab.analysis.conditions import with_condition
from trajlab.analysis.figures.curves import interval_curves, position_curves, position_map
from trajlab.analysis.load import Runs, without_seed
from trajlab.analysis.report.names import slug
from trajlab.analysis.report.section import Section


def section(runs: Runs) -> Section | None:
    """Curves of every condition, every variant and split, and what its runs ended with."""
    if runs.intervals.empty:
        return None
    part = Section("Curves")
    trained = runs.intervals["seed"].notna()
    swept = runs.intervals["run"].map(without_seed).where(trained, "")  # published models stand in one figure
    for (experiment, setting), frame in runs.intervals.groupby(["experiment", swept]):
        _one(part, runs, str(experiment), str(setting), frame)
    return part


def _one(part: Section, runs: Runs, experiment: str, setting: str, frame: pd.DataFrame) -> None:
    name = slug(f"{experiment}_{setting}" if setting else experiment)
    own = runs.select(experiment=experiment)
    members = {(experiment, run) for run in frame["run"].unique()}
    own = own.without({key for m in own.manifests if (key := (m["experiment"], m["run"])) not in members})
    seeds = int(frame["run"].nunique())
    part.condition(f"{experiment} {setting}".strip() if not setting else f"{experiment}_{setting}", seeds)
    caption, positions = own.caption, own.positions
    if (
        frame["seed"].isna().all() or len(frame.groupby(["variant", "split"])) > 1
    ):  # else the answer's figure is the same
        part.figure(
            interval_curves(frame, "loss", caption=caption, floor=own.entropy_floor("valid")),
            f"{name}_loss",
            _seeds("Validation loss"),
            alt=_lowest(frame),
        )
    if np.isfinite(frame["ppl"]).any():
        figure = interval_curves(frame, "ppl", caption=caption)
        part.figure(figure, f"{name}_perplexity", _seeds("Perplexity, logarithmic"), alt=_lowest(frame))
    one = frame["seed"].notna().all()  # published models are not pooled over their positions
    if one and not positions.empty and (positions["variant"] == "raw").any():
        words = "Loss by position in the context at six intervals, mean over runs."
        main = "valid" if (positions["split"] == "valid").any() else str(positions["split"].iloc[0])
        positions = positions[positions["split"] == main]
        alt = _by_position(positions)
        part.figure(position_curves(positions, caption=caption), f"{name}_positions", words, alt=alt)
        if positions["interval"].nunique() > 2:
            part.figure(
                position_map(positions, caption=caption),
                f"{name}_position_map",
                "Loss over tokens × position, initialisation left out; the brightest 2 % share one colour.",
                alt=alt,
            )
    part.table(_summary(frame), "First, lowest and last loss in nats, means over runs.")


def _lowest(frame: pd.DataFrame) -> str:
    mean = frame.groupby(["variant", "split", "tokens"])["loss"].mean()
    variant, split, tokens = mean.idxmin()
    return f"The lowest mean loss is {mean.min():.3f} nats, of {variant} on {split} at {tokens:,} tokens."


def _by_position(positions: pd.DataFrame) -> str:
    """What the end of training looks like along the context."""
    raw = positions[(positions["variant"] == "raw") & (positions["interval"] == positions["interval"].max())]
    sums = raw.groupby("position")[["nll_sum", "count"]].sum()
    loss = sums["nll_sum"] / sums["count"]
    if loss.empty:
        return "Loss by position in the context."
    first, last = loss.index[0], loss.index[-1]
    return f"At the end the loss is {loss.iloc[0]:.2f} nats at position {first} and {loss.iloc[-1]:.2f} at position {last}."


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
