"""Figures of weight averaging: gain along training, tokens saved, window length, learning rate, spikes, annealing."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trajlab.analysis.averaging_gain import over_seeds
from trajlab.analysis.figures.curves import seed_band
from trajlab.analysis.figures.style import PALETTE, beside, line_style, new_figure, token_axis

GAIN = "gain over raw (nats per token)"


def gain_curves(gains: pd.DataFrame, *, caption: str = "", title: str = "Gain of averaging along training") -> Figure:
    """`averaging_gain.gain` against tokens, a colour a variant; above zero the average is better."""
    figure, (ax,) = new_figure(title, caption)
    for place, (variant, frame) in enumerate(gains.groupby("variant")):
        colour, dash = line_style(place)
        seed_band(ax, frame, "gain", colour, str(variant), dash)
    ax.axhline(0, color="0.3", linewidth=0.8)
    # the first intervals, where an average lags far behind, would flatten all the others
    settled = gains.loc[gains["progress"] > 0.1, "gain"]
    span = max(abs(settled.quantile([0.02, 0.98])).max(), 1e-6)
    ax.set_ylim(-1.3 * span, 1.3 * span)
    ax.set_ylabel(GAIN)
    token_axis(ax)
    beside(ax)
    return figure


def saved_figure(saved: pd.DataFrame, *, caption: str = "", title: str = "Tokens saved to a target") -> Figure:
    """`averaging_gain.tokens_saved` of several variants: means over runs with 95 % intervals against the target loss."""
    figure, (ax,) = new_figure(title, caption)
    for colour, (variant, frame) in zip(_colours(), saved.groupby("variant"), strict=False):
        _with_error(ax, over_seeds(frame, "tokens_saved", ["target"]), "target", colour, str(variant))
    ax.axhline(0, color="0.3", linewidth=0.8)
    ax.invert_xaxis()
    ax.set_xlabel("target loss (nats per token), falling as training goes on")
    ax.set_ylabel("tokens saved")
    beside(ax)
    return figure


def window_figure(curve: pd.DataFrame, *, caption: str = "", title: str = "Gain against the window's length") -> Figure:
    """`averaging_gain.window_curve`: one panel a kind of average, one colour a part of the run, 1 % of the budget marked."""
    kinds = list(curve.dropna(subset=["window_share"]).groupby("kind"))
    figure, axes = new_figure(title, caption, columns=len(kinds))
    for ax, (kind, frame) in zip(axes, kinds, strict=True):
        for colour, (until, part) in zip(_colours(), frame.groupby("until"), strict=False):
            label = f"up to {until:.0%} of the run"
            _with_error(ax, over_seeds(part, "gain", ["window_share"]), "window_share", colour, label)
        ax.axvline(0.01, color="0.3", linestyle="--", linewidth=0.8)
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set_xscale("log")
        ax.set_yscale("symlog", linthresh=0.02)
        ax.set_title(str(kind).upper())
        ax.set_xlabel("window ÷ budget")
        ax.set_ylabel(GAIN)
        beside(ax)
    return figure


def learning_rate_figure(
    gains: pd.DataFrame, *, caption: str = "", title: str = "Gain against learning rate"
) -> Figure:
    """Mean gain over the run after its first tenth, against column ``peak_lr``, a colour a variant."""
    figure, (ax,) = new_figure(title, caption)
    settled = gains[gains["progress"] > 0.1]
    means = settled.groupby(["variant", "peak_lr", "run"], as_index=False)["gain"].mean()
    for colour, (variant, frame) in zip(_colours(), means.groupby("variant"), strict=False):
        _with_error(ax, over_seeds(frame, "gain", ["peak_lr"]), "peak_lr", colour, str(variant))
    ax.axhline(0, color="0.3", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlabel("peak learning rate")
    ax.set_ylabel(f"mean {GAIN}")
    beside(ax)
    return figure


def spike_figure(
    intervals: pd.DataFrame, tokens: float, *, caption: str = "", reach: int = 8, title: str = "Loss around a spike"
) -> Figure:
    """Mean loss of every variant from ``reach`` intervals before to after the spike at ``tokens``."""
    figure, (ax,) = new_figure(title, caption)
    marks = np.sort(intervals["tokens"].unique())
    at = int(np.abs(marks - tokens).argmin())
    shown = intervals[intervals["tokens"].isin(marks[max(at - reach, 0) : at + reach + 1])]
    for colour, (variant, frame) in zip(_colours(), shown.groupby("variant"), strict=False):
        mean = frame.groupby("tokens")["loss"].mean()
        ax.plot(mean.index, mean, color=colour, linewidth=2.5 if variant == "raw" else 1.2, label=str(variant))
    ax.axvline(tokens, color="0.3", linestyle="--", linewidth=0.8)
    ax.set_ylabel("loss (nats per token)")
    token_axis(ax)
    beside(ax)
    return figure


def annealed_figure(table: pd.DataFrame, *, caption: str = "", title: str = "Averaging against annealing") -> Figure:
    """`averaging_gain.against_annealed`: how far each variant stays behind a run annealed to zero at the same tokens."""
    figure, (ax,) = new_figure(title, caption)
    for colour, (variant, frame) in zip(_colours(), table.groupby("variant"), strict=False):
        _with_error(ax, over_seeds(frame, "behind", ["budget"]), "budget", colour, str(variant))
    ax.axhline(0, color="0.3", linewidth=0.8, label="annealed to zero there")
    ax.set_xlabel("share of the long run's tokens")
    ax.set_ylabel("loss behind the annealed run (nats)")
    beside(ax)
    return figure


def _with_error(ax: Axes, means: pd.DataFrame, x: str, colour: str, label: str) -> None:
    half = (means["ci_high"] - means["mean"]).to_numpy(float)
    error = None if np.isnan(half).all() else half
    ax.errorbar(means[x], means["mean"], error, color=colour, marker="o", markersize=3, capsize=2, label=label)


def _colours() -> list[str]:
    return list(PALETTE) * 4
