"""Figures of stability telemetry: changes, volatility, drawdown, spread of seeds; rises by seed; steps with their spikes."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from trajlab.analysis.figures.style import PALETTE, beside, legend, line_style, new_figure, token_axis

MANY_POINTS = 4000
"""Points of a figure beyond which lines are drawn as an image inside the SVG."""


def stability_panels(telemetry: pd.DataFrame, spread: pd.DataFrame, *, caption: str = "") -> Figure:
    """Four panels from `stability`'s and `between_seeds`' frames of one condition: changes, volatility, drawdown, seeds.

    The last shows each seed's difference from the mean over seeds, and is left out where there is one.
    """
    figure, axes = new_figure("Stability along training", caption, rows=2, columns=2, height=2.8)
    means = spread.set_index("interval")["mean"]
    for place, (run, curve) in enumerate(telemetry.groupby("run")):
        colour, dash = line_style(place)
        style: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 0.9}
        for ax, column in zip(axes[:3], ("delta", "volatility", "drawdown"), strict=True):
            ax.plot(curve["tokens"], curve[column], label=str(run), **style)
        apart = curve["loss"].to_numpy() - means.reindex(curve["interval"]).to_numpy()
        axes[3].plot(curve["tokens"], apart, label=str(run), **style)
    spiked = telemetry[telemetry["spike"]]
    if len(spiked):
        axes[0].scatter(spiked["tokens"], spiked["delta"], s=40, marker="x", color="0.3", zorder=4, label="spike")
    changes = telemetry["delta"].dropna().abs()
    if len(changes):  # the first fall is a hundred times the rest, which it would flatten
        reach = 1.5 * float(changes.quantile(0.9))
        axes[0].set_ylim(-reach, reach)
    labels = (
        "change of loss (nats)",
        "rolling volatility (nats)",
        "drawdown (nats)",
        "loss − mean of seeds (nats)",
    )
    last = telemetry["tokens"].max()
    for ax, label in zip(axes, labels, strict=True):
        ax.set_ylabel(label)
        ax.set_xlim(-0.02 * last, 1.02 * last)
        token_axis(ax)
    for ax in (axes[0], axes[3]):
        ax.axhline(0, color="0.3", linewidth=0.8)
    axes[3].set_visible(len(telemetry["run"].unique()) > 1)
    beside(axes[1])
    return figure


def backslide_map(telemetry: pd.DataFrame, *, caption: str = "") -> Figure:
    """Seed × interval: where the loss rose, and where it rose beyond twice its paired standard error."""
    frame = telemetry[telemetry["delta"].notna()]
    rose = frame["backslide"].astype(int) + frame["backslide_2se"].fillna(False).astype(bool).astype(int)
    grid = frame.assign(rose=rose).pivot_table(index="run", columns="interval", values="rose", sort=True)
    figure, (ax,) = new_figure("Where the loss rose", caption, height=1.2 + 0.28 * len(grid))
    colours = ("#ffffff", PALETTE[5], PALETTE[1])
    ax.pcolormesh(
        np.arange(grid.columns.min(), grid.columns.max() + 2) - 0.5,
        np.arange(len(grid) + 1) - 0.5,
        grid.reindex(columns=range(grid.columns.min(), grid.columns.max() + 1)),
        cmap=ListedColormap(colours),
        vmin=0,
        vmax=2,
        shading="flat",
        edgecolors="#b0b0b0",
        linewidth=0.3,
    )
    ax.set_yticks(np.arange(len(grid)), [str(run) for run in grid.index])
    ax.grid(visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("interval")
    words = ("fell", "rose", "rose beyond 2 se")
    marks = [Patch(facecolor=c, edgecolor="#b0b0b0", label=w) for c, w in zip(colours, words, strict=True)]
    beside(ax, handles=marks)
    return figure


def step_loss(steps: pd.DataFrame, *, caption: str = "", every: int = 1) -> Figure:
    """Training loss of each step, spikes marked, from `step_spikes`' frame; every ``every``-th step is drawn."""
    figure, (ax,) = new_figure("Training loss and its spikes", caption, height=3.0)
    many = len(steps) > MANY_POINTS * every
    for run, own in steps.groupby("run"):
        drawn = own.iloc[::every]
        ax.plot(
            drawn["tokens"],
            drawn["train_loss"],
            linewidth=0.5,
            linestyle="-",
            alpha=0.7,
            label=str(run),
            rasterized=many,
        )
    spikes = steps[steps["spike"]]
    if len(spikes):
        ax.scatter(spikes["tokens"], spikes["train_loss"], marker="x", color="0.3", zorder=3, label="spike")
    ax.set_ylabel("training loss (nats per token)")
    token_axis(ax)
    if steps["run"].nunique() > 12:
        legend(ax, ncols=2, handles=[])
    else:
        beside(ax)
    return figure
