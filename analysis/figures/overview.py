"""The figures of the report's first screen: one condition's turn, several conditions over each other, their differences."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trajlab.analysis.figures.style import DASHES, PALETTE, human_count, new_figure, plain_log, token_axis
from trajlab.analysis.statistics.intervals import t_interval

SETTLED = 0.05
"""Share of the budget after which losses set the y axis: the fall from initialisation would flatten the turn."""

BANDED = 3
"""Seeds from which the mean's interval is drawn: that of two is some nine times as wide as the seeds are apart."""

NAMES = ("validation", "training")
TOLD = 60
"""Values of a line up to which each is told under the pointer: every one is a mark of its own in the SVG."""

WIDE, NARROW = (9.0, 4.0), (3.6, 3.4)
"""Inches: for a screen, for a phone."""


def turn_figure(
    intervals: pd.DataFrame, *, floor: float | None = None, caption: str = "", narrow: bool = False, log: bool = False
) -> Figure:
    """Validation and training loss of one condition on one axis: minimum, epochs and entropy floor marked, ends labelled.

    ``intervals`` are the rows of one condition, variant and split.
    """
    figure, (ax,) = new_figure("", caption)
    figure.set_size_inches(NARROW if narrow else WIDE)
    mean = _mean_and_seeds(ax, intervals, "loss", PALETTE[0], "-", "validation")
    _minimum(ax, mean)
    ends = [(float(mean.iloc[-1]), f"validation {mean.iloc[-1]:.2f}", PALETTE[0])]
    if "train_loss" in intervals and intervals["train_loss"].notna().any():
        train = _mean_and_seeds(
            ax, intervals.dropna(subset=["train_loss"]), "train_loss", PALETTE[1], DASHES[1], "training"
        )
        ends.append((float(train.iloc[-1]), f"training {train.iloc[-1]:.2f}", PALETTE[1]))
    _range(ax, intervals, ("loss", "train_loss"))
    _axis(ax, intervals, log)
    if not log:
        _epochs(ax, intervals)
    _floor(ax, floor)
    _ends(ax, ends)
    ax.set_ylabel("loss (nats per token)")
    return figure


def conditions_figure(
    named: Sequence[tuple[str, pd.DataFrame]], *, caption: str = "", narrow: bool = False, log: bool = False
) -> Figure:
    """Validation loss of several conditions over each other: seeds thin, means thick, each end labelled."""
    figure, (ax,) = new_figure("", caption)
    figure.set_size_inches(NARROW if narrow else WIDE)
    ends = []
    for place, (name, frame) in enumerate(named):
        colour, dash = PALETTE[place % len(PALETTE)], DASHES[place % len(DASHES)]
        mean = _mean_and_seeds(ax, frame, "loss", colour, dash, name)
        ends.append((float(mean.iloc[-1]), f"{name} {mean.iloc[-1]:.2f}", colour))
    together = pd.concat([frame for _, frame in named])
    _range(ax, together, ("loss",))
    _axis(ax, together, log)
    ax.set_ylabel("validation loss (nats per token)")
    _ends(ax, ends)
    return figure


def difference_figure(differences: pd.DataFrame, reference: str, *, caption: str = "") -> Figure:
    """Each condition's loss above the reference's, paired by seed, with its simultaneous band."""
    figure, (ax,) = new_figure(f"Loss above {reference}, paired by seed", caption, height=3.2)
    figure.set_size_inches(WIDE[0], 3.2)
    ends = []
    for place, (name, d) in enumerate(differences.groupby("condition", sort=False), start=1):
        colour = PALETTE[place % len(PALETTE)]
        ax.plot(d["tokens"], d["difference"], color=colour, linestyle=DASHES[place % len(DASHES)], linewidth=2)
        ax.fill_between(d["tokens"], d["band_low"], d["band_high"], color=colour, alpha=0.15, linewidth=0)
        ends.append((float(d["difference"].iloc[-1]), f"{name} {d['difference'].iloc[-1]:+.2f}", colour))
    ax.axhline(0, color="0.3", linewidth=0.8)
    low, high = differences["difference"].min(), differences["difference"].max()
    room = max(high - low, 1e-6)  # a band of two seeds is wider than the page
    ax.set_ylim(min(low, 0) - 0.6 * room, max(high, 0) + 0.6 * room)
    ax.set_ylabel("difference (nats per token)")
    token_axis(ax)
    _ends(ax, ends)
    return figure


def _mean_and_seeds(ax: Axes, frame: pd.DataFrame, value: str, colour: str, dash: object, name: str) -> pd.Series:
    """The seeds thin, their mean thick with its 95 % interval; the mean by tokens."""
    for place, (_, own) in enumerate(frame.groupby("run")):
        name_in_svg = f"seed-{len(ax.lines)}-{place}"  # what the page's switch of single seeds looks for
        ax.plot(own["tokens"], own[value], color=colour, alpha=0.4, linewidth=0.7, linestyle="-", gid=name_in_svg)
    at = frame.groupby("tokens")[value].agg(["mean", "std", "count"])
    at = at[at["count"] == frame["run"].nunique()]
    low, high = t_interval(at["mean"], at["std"] / np.sqrt(at["count"]), at["count"])
    ax.plot(at.index, at["mean"], color=colour, linewidth=2.2, linestyle=dash)
    if name in NAMES and len(at) <= TOLD:
        _tell(ax, at["mean"], colour, name)
    if frame["run"].nunique() >= BANDED:
        ax.fill_between(at.index, low, high, color=colour, alpha=0.15, linewidth=0)
    return at["mean"]


def _tell(ax: Axes, mean: pd.Series, colour: str, name: str) -> None:
    """A mark on each value that isn't seen; its name says the value, and the page shows it under the pointer."""
    for tokens, value in mean.items():
        words = f"value {human_count(float(tokens))} tokens: {name} {value:.3f}"
        ax.plot([tokens], [value], "o", color=colour, alpha=0.0, markersize=9, gid=words)


def _range(ax: Axes, intervals: pd.DataFrame, columns: Sequence[str]) -> None:
    """The y axis from the losses after the first fall."""
    last = intervals["tokens"].max()
    settled = intervals[intervals["tokens"] >= SETTLED * last]
    values = settled[[c for c in columns if c in settled]].to_numpy(float)
    values = values[np.isfinite(values)]
    if len(values):
        room = max(float(np.ptp(values)), 1e-3)
        ax.set_ylim(values.min() - 0.12 * room, values.max() + 0.12 * room)


def _axis(ax: Axes, intervals: pd.DataFrame, log: bool) -> None:
    last = float(intervals["tokens"].max())
    token_axis(ax)
    if log:
        first = intervals.loc[intervals["tokens"] > 0, "tokens"].min()
        plain_log(ax)
        ax.set_xlim(0.9 * first, last)
    else:
        ax.set_xlim(0, last)


def _minimum(ax: Axes, mean: pd.Series) -> None:
    place, loss = float(mean.idxmin()), float(mean.min())
    ax.plot(
        [place],
        [loss],
        "o",
        color=PALETTE[0],
        markersize=7,
        markerfacecolor="white",
        markeredgewidth=2,
        zorder=5,
        clip_on=False,
    )
    if place == mean.index[-1]:
        return  # the end is labelled anyway
    ax.annotate(
        f"lowest {loss:.2f} at {human_count(place)}",
        (place, loss),
        xytext=(8, -16),
        textcoords="offset points",
        fontsize=9,
        fontweight="bold",
        ha="left" if place < 0.6 * mean.index[-1] else "right",
    )


def _epochs(ax: Axes, intervals: pd.DataFrame) -> None:
    """Short strokes at the top where a pass over the training text ends; every n-th, so that they stay apart."""
    if "epoch" not in intervals or not intervals["epoch"].gt(0).any():
        return
    last = intervals.loc[intervals["tokens"].idxmax()]
    per_epoch, epochs = last["tokens"] / last["epoch"], int(last["epoch"] + 1e-9)
    most = 10 if ax.figure.bbox.width / ax.figure.dpi > NARROW[0] else 4
    every = max(1, -(-epochs // most))
    for epoch in range(every, epochs + 1, every):
        ax.axvline(epoch * per_epoch, ymin=0.97, color="0.3", linewidth=0.8)
        ax.annotate(
            f"epoch {epoch}" if epoch == every else f"{epoch}",
            (epoch * per_epoch, 0.955),
            xycoords=("data", "axes fraction"),
            fontsize=7,
            color="0.4",
            ha="center",
            va="top",
        )


def _floor(ax: Axes, floor: float | None) -> None:
    if floor is None:
        return
    low, high = ax.get_ylim()
    if floor > low - 0.35 * (high - low):
        ax.set_ylim(min(low, floor - 0.05 * (high - low)), high)
        ax.axhline(floor, color="0.3", linestyle=DASHES[2], linewidth=1)
        place, words = (0.99, floor), f"entropy floor {floor:.2f}"
        ax.annotate(words, place, xycoords=("axes fraction", "data"), fontsize=8, color="0.4", ha="right", va="bottom")
    else:
        words = f"entropy floor {floor:.2f}, below ↓"
        ax.annotate(words, (0.99, 0.02), xycoords="axes fraction", fontsize=8, color="0.4", ha="right", va="bottom")


def _ends(ax: Axes, ends: list[tuple[float, str, str]]) -> None:
    """The last values beside the axes, moved apart where they would lie on each other."""
    low, high = ax.get_ylim()
    gap, place = 0.055 * (high - low), -np.inf
    for value, words, colour in sorted(ends):
        place = max(min(value, high), place + gap)
        ax.annotate(
            words,
            (1.01, place),
            xycoords=("axes fraction", "data"),
            fontsize=9,
            color=colour,
            va="center",
            fontweight="bold",
            annotation_clip=False,
        )
