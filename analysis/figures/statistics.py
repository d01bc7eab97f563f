"""Figures of the statistics: contrasts with their intervals, prices of intervals, calibration of tests."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator

from trajlab.analysis.figures.style import PALETTE, beside, human_count, new_figure, token_axis


def contrast_intervals(contrasts: pd.DataFrame, *, caption: str = "", title: str = "Planned contrasts") -> Figure:
    """Difference and 95 % interval of each pair of `planned_contrasts`; filled where Holm's p is under .05."""
    figure, (ax,) = new_figure(title, caption, height=0.9 + 0.2 * len(contrasts))
    places = np.arange(len(contrasts))[::-1]
    ax.hlines(places, contrasts["ci_low"], contrasts["ci_high"], color=PALETTE[0], linewidth=1.6)
    sure = contrasts["p_holm"] <= 0.05
    for chosen, face, label in ((sure, PALETTE[0], "Holm p ≤ .05"), (~sure, "white", "not significant")):
        ax.scatter(
            contrasts["difference"][chosen],
            places[chosen],
            s=26,
            zorder=3,
            facecolor=face,
            edgecolor=PALETTE[0],
            label=label,
        )
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.set_yticks(places, [f"{a} → {b}" for a, b in zip(contrasts["a"], contrasts["b"], strict=True)])
    ax.set_xlabel("change of loss (nats)")
    _to_most(ax, contrasts)
    beside(ax)
    return figure


def _to_most(ax: Axes, contrasts: pd.DataFrame) -> None:
    """Where a few large differences would squash all others, the axis is linear for most and logarithmic beyond."""
    reach = contrasts[["ci_low", "ci_high"]].abs().max(axis=1)
    usual = float(reach.quantile(0.75))
    if usual > 0 and reach.max() > 5 * usual:
        ax.set_xscale("symlog", linthresh=usual)
        ax.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=usual))
        ax.xaxis.set_major_formatter(lambda x, _: human_count(x))
        ax.set_xlabel(f"change of loss (nats; logarithmic beyond ±{human_count(usual)})")


def price_of_loss(returns: pd.DataFrame, best_tokens: float, *, caption: str = "") -> Figure:
    """What a million tokens bought at each interval, and the loss bought in all; the best interval as a line."""
    figure, axes = new_figure("What the tokens bought", caption, columns=2, height=3.2)
    bought = returns.dropna(subset=["per_million_tokens"])
    width_K = np.diff(returns["tokens"], prepend=np.nan)[returns["per_million_tokens"].notna()]
    middle = bought["tokens"] - width_K / 2  # a bar covers the interval that it is the price of
    for chosen, colour, hatch in (
        (bought["per_million_tokens"] > 0, PALETTE[0], ""),
        (bought["per_million_tokens"] <= 0, PALETTE[1], "///"),
    ):
        axes[0].bar(
            middle[chosen],
            bought["per_million_tokens"][chosen],
            width=0.9 * width_K[chosen],
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
        )
    axes[0].axhline(0, color="0.3", linewidth=0.8)
    axes[0].set_yscale("symlog", linthresh=0.1)
    axes[0].yaxis.set_major_formatter(lambda x, _: human_count(x))
    axes[0].set_ylabel("nats per million tokens")
    axes[1].plot(returns["tokens"], returns["bought_total"], color=PALETTE[0], linewidth=2)
    axes[1].set_ylabel("loss removed since the start (nats)")
    for ax in axes:
        ax.axvline(best_tokens, color="0.3", linestyle="--", linewidth=1, label=f"best: {human_count(best_tokens)}")
        token_axis(ax)
    beside(axes[1])
    return figure


def calibration_panels(calibration: pd.DataFrame, *, caption: str = "") -> Figure:
    """Rejection rate against effect size from `calibrate`'s frame: a row per shape, a column per null model.

    Dotted: a test that doesn't keep its error under one of the null models; its power is no merit.
    """
    shapes = [s for s in calibration["effect"].unique() if s != "none"] or ["none"]
    models = list(calibration["model"].unique())
    figure, axes = new_figure(
        f"How often each test rejects ({calibration['n'].iloc[0]} seeds × {calibration['k'].iloc[0]} intervals)",
        caption,
        rows=len(shapes),
        columns=len(models),
        height=2.6,
    )
    tests = list(calibration["test"].unique())
    null = calibration[calibration["effect"] == "none"].groupby("test")["rejected"].max()
    for i, (shape, model) in enumerate((s, m) for s in shapes for m in models):
        ax = axes[i]
        cell = calibration[(calibration["model"] == model) & calibration["effect"].isin(["none", shape])]
        for j, test in enumerate(tests):
            line = cell[cell["test"] == test].sort_values("size")
            keeps = null[test] <= 1.2 * calibration["alpha"].iloc[0]
            ax.errorbar(
                line["size"],
                line["rejected"],
                yerr=[line["rejected"] - line["ci_low"], line["ci_high"] - line["rejected"]],
                color=PALETTE[j % len(PALETTE)] if j < len(PALETTE) else "0.5",
                linestyle="-" if keeps else ":",
                marker="o",
                markersize=2.5,
                linewidth=1.6 if keeps else 1.0,
                label=test,
            )
        ax.axhline(calibration["alpha"].iloc[0], color="0.3", linewidth=0.8, linestyle=":")
        ax.set_ylim(-0.02, 1.02)
        ax.set_title(f"{model}: {shape}" if shape != "none" else str(model))
        ax.set_xlabel("effect (rms over noise rms)")
        ax.set_ylabel("rejected")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    return figure
