"""Curves along training: every seed thin, the mean with its 95 % band thick."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from trajlab.analysis.conditions import refuse_several, with_condition
from trajlab.analysis.figures.style import beside, human_count, line_style, new_figure, plain_log, token_axis
from trajlab.analysis.statistics.intervals import t_interval

LABELS = {
    "loss": "loss (nats per token)",
    "ppl": "perplexity",
    "bits_per_byte": "bits per byte",
    "train_loss": "training loss (nats per token)",
}


def seed_band(ax: Axes, frame: pd.DataFrame, value: str, colour: str, label: str, dash: LineStyleType = "-") -> None:
    """Each run of ``frame`` thin, their mean thick with a t-based 95 % interval over seeds. Needs columns tokens, run.

    Runs that were evaluated at other tokens than the rest have no mean. Raises ValueError where the runs are of several
    conditions.
    """
    refuse_several(frame)
    for _, run in frame.groupby("run"):
        ax.plot(run["tokens"], run[value], color=colour, alpha=0.35, linewidth=0.7)
    runs = frame["run"].nunique()
    shared, evaluated = frame.groupby("tokens")["run"].nunique(), frame.groupby("run")["tokens"].nunique()
    if shared.min() < runs and evaluated.min() == evaluated.max():
        ax.plot([], [], color=colour, linewidth=2, label=f"{label} ({runs}, at other tokens each: no mean)")
        return
    spread = frame.groupby("tokens")[value].agg(["mean", "std", "count"])
    low, high = t_interval(spread["mean"], spread["std"] / np.sqrt(spread["count"]), spread["count"])
    name = f"{label} ({frame['run'].nunique()})"
    ax.plot(spread.index, spread["mean"], color=colour, linewidth=2, linestyle=dash, label=name)
    ax.fill_between(spread.index, low, high, color=colour, alpha=0.18, linewidth=0)


def interval_curves(
    intervals: pd.DataFrame, value: str = "loss", *, caption: str = "", floor: float | None = None, title: str = ""
) -> Figure:
    """A column of table `intervals` against tokens, one colour for each condition, variant and split.

    ``floor`` draws the entropy floor, in nats; only for the loss.
    """
    label = LABELS.get(value, value)
    figure, (ax,) = new_figure(title or f"{label[0].upper()}{label[1:]} along training", caption)
    shown = with_condition(intervals.dropna(subset=[value]))
    groups = sorted(shown.groupby(["variant", "split", "condition"]), key=lambda named: named[0][0] != "raw")
    for place, ((variant, split, condition), group) in enumerate(groups):
        name = ", ".join(w for w in (split, variant, condition) if w)
        colour, dash = line_style(place)
        seed_band(ax, group, value, colour, name, dash)
    if floor is not None and value == "loss" and floor < shown[value].min() - 0.25 * np.ptp(shown[value]):
        ax.plot([], [], " ", label=f"entropy floor {floor:.3f}, below")  # drawn, it would squeeze the curves
    elif floor is not None and value == "loss":
        ax.axhline(floor, color="0.3", linestyle="--", linewidth=1, label=f"entropy floor {floor:.3f}")
    ax.set_ylabel(LABELS.get(value, value))
    if value == "ppl":
        plain_log(ax, "y")
    token_axis(ax)
    beside(ax)
    return figure


def position_curves(positions: pd.DataFrame, *, caption: str = "", shown: int = 6, split: str | None = None) -> Figure:
    """Loss against position in the context at a few intervals, averaged over runs; variant raw.

    ``split`` picks one; otherwise the first. Raises ValueError where the runs are of several conditions.
    """
    refuse_several(positions, ["experiment", "condition"])
    split = split or str(positions["split"].iloc[0])
    frame = positions[(positions["split"] == split) & (positions["variant"] == "raw")]
    marks = np.unique(frame["interval"])
    marks = marks[np.unique(np.linspace(0, len(marks) - 1, shown).round().astype(int))]
    figure, (ax,) = new_figure(f"Loss by position in the context ({split})", caption)
    shades = _shades(len(marks))
    for colour, mark in zip(shades, marks, strict=True):
        at = frame[frame["interval"] == mark].groupby("position")[["nll_sum", "count"]].sum()
        tokens = frame.loc[frame["interval"] == mark, "tokens"].iloc[0]
        ax.plot(at.index, at["nll_sum"] / at["count"], color=colour, linewidth=1, label=human_count(tokens))
    plain_log(ax)
    ax.set_xlabel("position in the context")
    ax.set_ylabel(LABELS["loss"])
    beside(ax, title="tokens seen")
    return figure


def position_map(positions: pd.DataFrame, *, caption: str = "", split: str | None = None) -> Figure:
    """Loss over tokens × position, raw weights, means over runs: a row per position, a column per interval after the first.

    Initialisation is left out: its loss is the same everywhere and would take half of the colours.
    """
    split = split or str(positions["split"].iloc[0])
    frame = positions[(positions["split"] == split) & (positions["variant"] == "raw") & (positions["tokens"] > 0)]
    sums = frame.groupby(["position", "tokens"])[["nll_sum", "count"]].sum()
    loss = (sums["nll_sum"] / sums["count"]).unstack("tokens")  # noqa: PD010
    figure, (ax,) = new_figure(f"Loss over tokens and position ({split})", caption)
    top = float(np.nanquantile(loss.to_numpy(), 0.98))
    shown = ax.pcolormesh(loss.columns, loss.index, loss, cmap="cividis", vmax=top, shading="nearest", rasterized=True)
    figure.colorbar(shown, ax=ax, label=LABELS["loss"], extend="max")
    plain_log(ax, "y")
    ax.set_ylim(bottom=2**-0.5)  # the first position's cell begins at 0.5, where no tick belongs
    ax.grid(visible=False)
    ax.set_ylabel("position in the context")
    token_axis(ax)
    return figure


def _shades(n: int) -> list[tuple[float, float, float, float]]:
    from matplotlib import colormaps

    return [tuple(c) for c in colormaps["viridis"](np.linspace(0.2, 0.85, n))]
