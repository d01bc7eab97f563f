"""Several conditions over each other: their losses, their differences from the best, and what they came to by a swept number."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trajlab.analysis.figures.overview import NARROW, WIDE, ends, mean_and_seeds, token_range, value_range
from trajlab.analysis.figures.style import DASHES, PALETTE, beside, human_count, new_figure, plain_log, token_axis

TOLD_APART = 5
"""Conditions that have a colour and a name each; of more, the first so many have, and the rest are grey lines."""


def conditions_figure(
    named: Sequence[tuple[str, pd.DataFrame]], *, caption: str = "", narrow: bool = False, log: bool = False
) -> Figure:
    """Validation loss of several conditions over each other: seeds thin, means thick, each end labelled.

    ``named`` in the order of importance: of more than `TOLD_APART` the first are drawn as such, of the rest the means.
    """
    figure, (ax,) = new_figure("", caption)
    figure.set_size_inches(NARROW if narrow else WIDE)
    labels = []
    for place, (name, frame) in reversed(list(enumerate(named))):
        if place >= TOLD_APART:
            mean = frame.groupby("tokens")["loss"].mean()
            ax.plot(mean.index, mean, color="0.4", alpha=0.45, linewidth=0.8)
            continue
        colour, dash = PALETTE[place % len(PALETTE)], DASHES[place % len(DASHES)]
        mean = mean_and_seeds(ax, frame, "loss", colour, dash, name)
        labels.append((float(mean.iloc[-1]), f"{name} {mean.iloc[-1]:.2f}", colour))
    together = pd.concat([frame for _, frame in named[:TOLD_APART]])
    value_range(ax, together, ("loss",), log)
    token_range(ax, together, log)
    ax.set_ylabel("validation loss (nats per token)")
    ends(ax, labels)
    return figure


def difference_figure(differences: pd.DataFrame, reference: str, *, caption: str = "") -> Figure:
    """Each condition's loss above the reference's with its simultaneous band; the first `TOLD_APART` of them."""
    figure, (ax,) = new_figure(f"Loss above {reference}", caption, height=3.2)
    figure.set_size_inches(WIDE[0], 3.2)
    labels, shown = [], []
    for place, (name, d) in enumerate(differences.groupby("condition", sort=False), start=1):
        if place > TOLD_APART:
            break
        shown.append(d)
        colour = PALETTE[place % len(PALETTE)]
        ax.plot(d["tokens"], d["difference"], color=colour, linestyle=DASHES[place % len(DASHES)], linewidth=2)
        ax.fill_between(d["tokens"], d["band_low"], d["band_high"], color=colour, alpha=0.15, linewidth=0)
        labels.append(
            (float(d["difference"].iloc[-1]), f"{name} {d['difference'].iloc[-1]:+.2f}".replace(" -", " −"), colour)
        )
    ax.axhline(0, color="0.3", linewidth=0.8)
    drawn = pd.concat(shown)["difference"]
    room = max(float(drawn.max() - drawn.min()), 1e-6)  # a band of two seeds is wider than the page
    ax.set_ylim(min(drawn.min(), 0) - 0.6 * room, max(drawn.max(), 0) + 0.6 * room)
    ax.set_ylabel("difference (nats per token)")
    token_axis(ax)
    ends(ax, labels)
    return figure


def sweep_figure(key: str, values: Sequence[float], losses: pd.DataFrame, *, caption: str = "") -> Figure:
    """Final and best loss against a swept number, means with their 95 % intervals; ``losses`` in the order of ``values``."""
    figure, (ax,) = new_figure("", caption, height=3.2)
    figure.set_size_inches(WIDE[0], 3.2)
    order = np.argsort(values)
    at = np.asarray(values, float)[order]
    for place, (what, words) in enumerate((("final", "at the end"), ("best", "lowest"))):
        rows = losses.iloc[order]
        mean = rows[f"{what} loss (nats)"].to_numpy(float)
        low, high = (rows[f"{what}: {end}"].to_numpy(float) for end in ("95 % CI from", "to"))
        colour = PALETTE[place]
        ax.plot(at, mean, color=colour, linestyle=DASHES[place], marker="o", markersize=4, linewidth=1.6, label=words)
        ax.vlines(at, low, high, color=colour, alpha=0.5, linewidth=1)
    means = losses[["final loss (nats)", "best loss (nats)"]].to_numpy(float)
    means = means[np.isfinite(means)]
    if len(means):  # an interval of two seeds is wider than the page
        room = max(float(np.ptp(means)), 1e-3)
        ax.set_ylim(means.min() - 0.15 * room, means.max() + 0.15 * room)
    if at.min() > 0 and at.max() >= 4 * at.min():
        plain_log(ax)
    elif np.abs(at).max() >= 10_000:  # else the axis would say "1e6" in a corner
        ax.xaxis.set_major_formatter(lambda x, _: human_count(x))
    ax.set_xlabel(key)
    ax.set_ylabel("validation loss (nats per token)")
    beside(ax)
    return figure
