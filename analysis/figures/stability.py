"""Figures of stability telemetry: losses with their backslides, volatility, drawdown, spread of seeds."""

import pandas as pd
from matplotlib.figure import Figure

from trajlab.analysis.figures.style import PALETTE, legend, new_figure, token_axis


def stability_panels(telemetry: pd.DataFrame, spread: pd.DataFrame, *, caption: str = "") -> Figure:
    """Four panels from `stability`'s and `between_seeds`' frames of one condition: changes, volatility, drawdown, CV."""
    figure, axes = new_figure("Stability along training", caption, rows=2, columns=2, height=2.8)
    for run, curve in telemetry.groupby("run"):
        for ax, column in zip(axes[:3], ("delta", "volatility", "drawdown"), strict=True):
            ax.plot(curve["tokens"], curve[column], linewidth=0.9, label=str(run))
    slid = telemetry[telemetry["backslide_2se"].fillna(False).astype(bool)]
    axes[0].scatter(slid["tokens"], slid["delta"], s=12, color=PALETTE[1], zorder=3, label="backslide beyond 2 se")
    spiked = telemetry[telemetry["spike"]]
    axes[0].scatter(spiked["tokens"], spiked["delta"], s=40, marker="x", color="black", zorder=4, label="spike")
    axes[0].axhline(0, color="0.3", linewidth=0.8)
    axes[3].plot(spread["tokens"], 100 * spread["cv"], color=PALETTE[4])
    labels = (
        "change of loss (nats)",
        "rolling volatility (nats)",
        "drawdown (nats)",
        "CV between seeds (%)",
    )
    for ax, label in zip(axes, labels, strict=True):
        ax.set_ylabel(label)
        token_axis(ax)
    axes[0].set_yscale("symlog", linthresh=0.01)
    legend(axes[0], ncols=2)
    return figure


def step_loss(steps: pd.DataFrame, *, caption: str = "", every: int = 1) -> Figure:
    """Training loss of each step, spikes marked, from `step_spikes`' frame; every ``every``-th step is drawn."""
    figure, (ax,) = new_figure("Training loss and its spikes", caption, height=3.0)
    for run, own in steps.groupby("run"):
        drawn = own.iloc[::every]
        ax.plot(drawn["tokens"], drawn["train_loss"], linewidth=0.5, alpha=0.7, label=str(run))
    spikes = steps[steps["spike"]]
    if len(spikes):
        ax.scatter(spikes["tokens"], spikes["train_loss"], marker="x", color="black", zorder=3, label="spike")
    ax.set_ylabel("training loss (nats per token)")
    token_axis(ax)
    legend(ax, ncols=2)
    return figure
