"""Draws the README's picture, the turn with its seeds, for light and dark pages: docs/images/turn-{light,dark}.svg.

python docs/images/turn.py results/budget/runs/tinystories_budget
"""

import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from trajlab import analysis
from trajlab.analysis.claims.budget import FINAL_TOKENS, LOSS_FINAL, LOSS_TURN, TURN_TOKENS
from trajlab.analysis.figures.style import RC, human_count, new_figure, token_axis

INKS = {"light": ("#1f2328", "#0072b2", "#d55e00"), "dark": ("#e6edf3", "#56b4e9", "#e69f00")}
"""Text, validation, training; Okabe & Ito's blue and orange, of which the lighter ones show on a dark page."""


def turn(runs: analysis.Runs, text: str, valid: str, train: str) -> Figure:
    """Loss over tokens: each seed thin, the mean thick, the lowest mean marked."""
    raw = runs.select(variant="raw", split="valid").intervals
    figure, (ax,) = new_figure("", height=3.2)
    for column, colour, name, dashes in (
        ("loss", valid, "validation", "-"),
        ("train_loss", train, "training", (0, (5, 1.5))),
    ):
        curves = raw[raw["tokens"] > 0].pivot_table(index="tokens", columns="run", values=column)
        ax.plot(curves.index, curves, color=colour, alpha=0.45, linewidth=0.8, linestyle=dashes)
        mean = curves.mean(axis=1)
        ax.plot(mean.index, mean, color=colour, linewidth=1.8, linestyle=dashes)
        ax.annotate(
            f" {name} {mean.iloc[-1]:.2f}",
            (mean.index[-1], mean.iloc[-1]),
            color=colour,
            va="center",
            annotation_clip=False,
        )
        if column == "loss":
            _mark_lowest(ax, mean, text)
            _mark_published(ax, text)
    lowest = raw.loc[raw["tokens"] > 0, ["loss", "train_loss"]].min()
    ax.set_ylim(0.8 * lowest.min(), 1.7 * lowest["loss"])  # the first steep fall would take most of the height
    ax.set_ylabel("loss (nats per token)")
    token_axis(ax)
    ax.set_xlim(0, raw["tokens"].max())
    ax.tick_params(colors=text)
    for part in (ax.xaxis.label, ax.yaxis.label):
        part.set_color(text)
    for spine in ax.spines.values():
        spine.set_color(text)
    return figure


def _mark_lowest(ax: mpl.axes.Axes, mean: "pd.Series[float]", text: str) -> None:
    lowest = mean.idxmin()
    ax.plot([lowest], [mean[lowest]], "o", color=text, markersize=6, zorder=5)
    ax.annotate(
        f"lowest: {mean[lowest]:.2f} at {human_count(lowest)} tokens,\nmore training makes it worse",
        (lowest, mean[lowest]), xytext=(-20, 38), textcoords="offset points", color=text,
        arrowprops={"arrowstyle": "-", "color": text, "linewidth": 0.8},
    )  # fmt: skip


def _mark_published(ax: mpl.axes.Axes, text: str) -> None:
    """The two losses that the paper gives for its own six seeds, where the axis has room for them."""
    published = (
        (TURN_TOKENS, LOSS_TURN, "", (2, -15), "left"),
        (FINAL_TOKENS, LOSS_FINAL, "published ", (-8, -16), "right"),
    )
    for tokens, loss, words, offset, side in published:
        ax.plot([tokens], [loss], "D", color=text, markersize=6, markerfacecolor="none", zorder=6, clip_on=False)
        ax.annotate(
            f"{words}{loss:.2f}", (tokens, loss), xytext=offset, textcoords="offset points", color=text, ha=side
        )


def main(folder: str) -> None:
    """Write both files beside this one."""
    runs = analysis.load_runs(folder)
    for name, inks in INKS.items():
        with mpl.rc_context({**RC, "svg.fonttype": "none", "svg.hashsalt": "turn"}):
            path = Path(__file__).with_name(f"turn-{name}.svg")
            turn(runs, *inks).savefig(path, transparent=True, metadata={"Date": None})
        print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
