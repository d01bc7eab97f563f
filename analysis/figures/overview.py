"""The main figure of the report's first screen: one condition's validation and training loss, its turn marked."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from trajlab.analysis.figures.style import DASHES, PALETTE, human_count, new_figure, plain_log, token_axis
from trajlab.analysis.statistics.intervals import t_interval

SETTLED = 0.15
"""Share of the budget after which losses set a linear figure's y axis: the fall from initialisation would flatten the turn.
On a logarithmic axis, where the fall has room, all losses set it."""

BANDED = 3
"""Seeds from which the mean's interval is drawn: that of two is some nine times as wide as the seeds are apart."""

POINTS_PER_LETTER = 5.8
"""Width of a bold letter of nine points, on average and rather too much."""

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
    mean = mean_and_seeds(ax, intervals, "loss", PALETTE[0], "-", "validation")
    labels = [(float(mean.iloc[-1]), f"validation {mean.iloc[-1]:.2f}", PALETTE[0])]
    if "train_loss" in intervals and intervals["train_loss"].notna().any():
        train = mean_and_seeds(
            ax, intervals.dropna(subset=["train_loss"]), "train_loss", PALETTE[1], DASHES[1], "training"
        )
        labels.append((float(train.iloc[-1]), f"training {train.iloc[-1]:.2f}", PALETTE[1]))
    value_range(ax, intervals, ("loss", "train_loss"), log)
    token_range(ax, intervals, log)
    _minimum(ax, mean, intervals)
    if not log:
        _epochs(ax, intervals)
    _floor(ax, floor)
    ends(ax, labels)
    ax.set_ylabel("loss (nats per token)")
    return figure


def mean_and_seeds(ax: Axes, frame: pd.DataFrame, value: str, colour: str, dash: object, name: str) -> pd.Series:
    """The seeds thin, their mean thick with its 95 % interval; the mean by tokens."""
    for place, (_, own) in enumerate(frame.groupby("run")):
        name_in_svg = f"oneseed-{len(ax.lines)}-{place}"  # what the page's switch of single seeds looks for
        ax.plot(own["tokens"], own[value], color=colour, alpha=0.4, linewidth=0.7, linestyle="-", gid=name_in_svg)
    at = frame.groupby("tokens")[value].agg(["mean", "std", "count"])
    at = at[at["count"] == frame["run"].nunique()]
    low, high = t_interval(at["mean"], at["std"] / np.sqrt(at["count"]), at["count"])
    ax.plot(at.index, at["mean"], color=colour, linewidth=2.2, linestyle=dash, label=name)
    if frame["run"].nunique() >= BANDED:
        ax.fill_between(at.index, low, high, color=colour, alpha=0.15, linewidth=0)
    return at["mean"]


def value_range(ax: Axes, intervals: pd.DataFrame, columns: Sequence[str], log: bool = False) -> None:
    """The y axis from the losses after the first fall, or from all where the token axis is logarithmic."""
    from_tokens = 0 if log else SETTLED * intervals["tokens"].max()
    settled = intervals[intervals["tokens"] >= from_tokens]
    values = settled[[c for c in columns if c in settled]].to_numpy(float)
    values = values[np.isfinite(values)]
    if len(values):
        room = max(float(np.ptp(values)), 1e-3)
        ax.set_ylim(values.min() - 0.12 * room, values.max() + 0.12 * room)


def token_range(ax: Axes, intervals: pd.DataFrame, log: bool) -> None:
    """The token axis from the start to the last interval; logarithmic, it starts at the first interval after it."""
    last = float(intervals["tokens"].max())
    token_axis(ax)
    if log:
        first = intervals.loc[intervals["tokens"] > 0, "tokens"].min()
        plain_log(ax)
        ax.set_xlim(0.9 * first, last)
    else:
        ax.set_xlim(0, last)


def _minimum(ax: Axes, mean: pd.Series, intervals: pd.DataFrame) -> None:
    """The circle, and beside it what it is: below the curve, or above it where the training loss is near below."""
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
    lines = [f"lowest {loss:.2f}", f"at {human_count(place)}"]
    lines = lines if _is_narrow(ax) else [" ".join(lines)]
    rightwards = place < 0.6 * mean.index[-1]
    up = _room_above(ax, (place, loss), lines, rightwards, intervals)
    ax.annotate(
        "\n".join(lines),
        (place, loss),
        xytext=(8 if rightwards else -8, up or -8),
        textcoords="offset points",
        fontsize=9,
        fontweight="bold",
        ha="left" if rightwards else "right",
        va="bottom" if up else "top",
    )


def _is_narrow(ax: Axes) -> bool:
    return bool(ax.figure.bbox.width / ax.figure.dpi <= NARROW[0])


def _room_above(
    ax: Axes, lowest: tuple[float, float], lines: Sequence[str], rightwards: bool, intervals: pd.DataFrame
) -> float:
    """How many points above the lowest value a label stays off the curves over its whole length; 0 where there is room below.

    The layout is not final yet, so that points are right to a tenth or so.
    """
    to_points = 72 / ax.figure.dpi
    x, y = ax.transData.transform(lowest)
    width = (8 + POINTS_PER_LETTER * max(map(len, lines))) / to_points
    ends = ax.transData.inverted().transform([(x, y), (x + width if rightwards else x - width, y)])[:, 0]
    columns = [c for c in ("loss", "train_loss") if c in intervals]
    beside = intervals.loc[intervals["tokens"].between(*sorted(ends)), columns].to_numpy(float).ravel()
    beside = beside[np.isfinite(beside)]
    heights = ax.transData.transform(np.column_stack([np.full(len(beside), lowest[0]), beside]))[:, 1]
    over, tall = (heights - y) * to_points, 12 + 14 * len(lines)
    below = (over < -1) & (over > -tall)
    return float(1.1 * over[over > -tall].max()) + 8 if below.any() else 0.0


def _epochs(ax: Axes, intervals: pd.DataFrame) -> None:
    """Short strokes at the top edge where a pass over the training text ends; every n-th, so that they stay apart."""
    if "epoch" not in intervals or not intervals["epoch"].gt(0).any():
        return
    last = intervals.loc[intervals["tokens"].idxmax()]
    per_epoch, epochs = last["tokens"] / last["epoch"], int(last["epoch"] + 1e-9)
    most = 4 if _is_narrow(ax) else 10
    every = max(1, -(-epochs // most))
    for epoch in range(every, epochs + 1, every):
        ax.axvline(epoch * per_epoch, ymin=0.97, color="0.3", linewidth=0.8)
        ax.annotate(
            f"epoch {epoch}" if epoch == every else f"{epoch}",
            (epoch * per_epoch, 1.005),
            xycoords=("data", "axes fraction"),
            fontsize=7,
            color="0.4",
            ha="center",
            va="bottom",
        )


def _floor(ax: Axes, floor: float | None) -> None:
    if floor is None:
        return
    low, high = ax.get_ylim()
    if floor > low - 0.12 * (high - low):
        ax.set_ylim(min(low, floor - 0.05 * (high - low)), high)
        ax.axhline(floor, color="0.3", linestyle=DASHES[2], linewidth=1)
        place, words = (0.99, floor), f"entropy floor {floor:.2f}"
        ax.annotate(words, place, xycoords=("axes fraction", "data"), fontsize=8, color="0.4", ha="right", va="bottom")
    else:
        words = f"entropy floor {floor:.2f}, below ↓"
        ax.annotate(words, (0.99, 0.02), xycoords="axes fraction", fontsize=8, color="0.4", ha="right", va="bottom")


def ends(ax: Axes, labels: list[tuple[float, str, str]]) -> None:
    """The last values beside the axes, each as near to its place as the others let it."""
    low, high = ax.get_ylim()
    gap = (
        1.25 / (ax.figure.bbox.height / ax.figure.dpi * 72 / 12) * (high - low)
    )  # a line of 9 points, in units of the axis
    ordered = sorted((min(max(value, low), high), words, colour) for value, words, colour in labels)
    steps = gap * np.arange(len(ordered))
    places = isotonic_regression(np.array([value for value, _, _ in ordered]) - steps).x + steps
    for place, (_, words, colour) in zip(places, ordered, strict=True):
        ax.annotate(
            words,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(9, 0),  # clear of the circle of a minimum at the end
            textcoords="offset points",
            fontsize=9,
            color=colour,
            va="center",
            fontweight="bold",
            annotation_clip=False,
        )
