"""Figures of checkpoint series: one shade a model, the larger the darker.

Perplexity against FLOPs and tokens, trend shares by start, token trajectories, a group of tokens at matched perplexity,
noise-level curves, task accuracy against perplexity and FLOPs.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from trajlab.analysis.figures.style import PALETTE, beside, human_count, legend, new_figure, plain_log, token_axis
from trajlab.analysis.token_trends import TRENDS

Colour = tuple[float, ...]


def perplexity_curves(frame: pd.DataFrame, *, caption: str = "", title: str = "") -> Figure:
    """Perplexity of every model against FLOPs (6·parameters·tokens) and against tokens.

    ``frame``: model, parameters, tokens, ppl. Checkpoints that have seen no tokens have no place on the axes.
    """
    shown = frame[frame["tokens"] > 0]
    figure, axes = new_figure(title or "Perplexity along training, by size", caption, columns=2)
    for model, colour, group in _by_size(shown):
        group = group.sort_values("tokens")
        flops = 6.0 * group["parameters"].to_numpy(float) * group["tokens"].to_numpy(float)
        for ax, x in zip(axes, (flops, group["tokens"]), strict=True):
            ax.plot(x, group["ppl"], color=colour, linewidth=1.3, marker="o", markersize=2.2, label=model)
    token_axis(axes[1])
    axes[0].set_xlabel("FLOPs (6 × parameters × tokens)")
    for ax in axes:
        ax.set_ylabel("perplexity")
        plain_log(ax)
        plain_log(ax, "y")
    beside(axes[1])
    return figure


def trend_share_curves(shares: pd.DataFrame, *, caption: str = "", adjusted: str = "ols, BH") -> Figure:
    """Share of each trend by start point, a panel a trend: the published test solid, ``adjusted`` dotted.

    ``shares``: from `trajlab.analysis.token_trends.trend_shares`, with a column model (and parameters, to order them).
    """
    figure, axes = new_figure("Token trends by the start point", caption, rows=2, columns=2, height=2.9)
    for ax, trend in zip(axes, TRENDS, strict=True):
        for model, colour, group in _by_size(shares[shares["trend"] == trend]):
            for reading, line in (("ols", "-"), (adjusted, ":")):
                own = group[group["reading"] == reading].sort_values("start")
                label = model if reading == "ols" else None
                ax.plot(100 * own["start"], 100 * own["share"], line, color=colour, linewidth=1.5, label=label)
        ax.set_title(trend)
        ax.set(xlabel="start (% of training)", ylabel="% of tokens", ylim=(0, None))
    axes[0].plot([], [], ":", color="0.3", label=f"tested as {adjusted}")
    legend(axes[0])
    return figure


def token_trajectories(
    nll_MC: ArrayLike, trend: Sequence[str] | pd.Series, tokens_C: ArrayLike, *, caption: str = "", each: int = 12
) -> Figure:
    """Perplexity of single tokens along training, a panel a trend: ``each`` tokens thin, all of the trend thick.

    The thick line is the geometric mean over all tokens of that trend. Tokens are taken evenly over the group, in order.
    """
    nll, kinds, at = np.asarray(nll_MC, dtype=float), np.asarray(trend), np.asarray(tokens_C, dtype=float)
    figure, axes = new_figure("Single tokens along training", caption, rows=2, columns=2, height=2.9)
    for ax, kind, colour in zip(axes, TRENDS, PALETTE, strict=False):
        members = np.flatnonzero(kinds == kind)
        ax.set_title(f"{kind} ({len(members):,}, {len(members) / max(len(kinds), 1):.1%})")
        ax.set(yscale="log", ylabel="perplexity")
        token_axis(ax)
        if not len(members):
            continue
        for m in members[np.unique(np.linspace(0, len(members) - 1, each).astype(int))]:
            ax.plot(at, np.exp(nll[m]), color=colour, linewidth=0.6, alpha=0.45)
        ax.plot(at, np.exp(nll[members].mean(axis=0)), color=colour, linewidth=2.4, label=kind)
        plain_log(ax, "y")
    return figure


def matched_perplexity_curves(traced: pd.DataFrame, *, reference: str = "", caption: str = "") -> Figure:
    """A group of tokens against each model's own perplexity, which falls to the right; ``traced`` as from `trace`."""
    title = f"Tokens that {reference} unlearns" if reference else "A group of tokens across sizes"
    figure, (ax,) = new_figure(title, caption)
    for model, colour, group in _by_size(traced):
        ax.plot(group["ppl"], group["group_ppl"], color=colour, linewidth=1.4, marker="o", markersize=2.2, label=model)
    _falling_perplexity(ax)
    ax.set(yscale="log", ylabel="perplexity of the tokens")
    _plain_log(ax.yaxis)
    beside(ax)
    return figure


def noise_curves(perplexities: pd.DataFrame, *, caption: str = "") -> Figure:
    """Perplexity of correct, partly randomised and contradicted text along training, a panel a model.

    ``perplexities``: from `trajlab.analysis.sequences.sequence_perplexity`.
    """
    frame = perplexities[perplexities["kind"].isin(["correct", "random", "contradicted"])]
    runs = list(dict.fromkeys(frame["run"]))
    figure, axes = _panels("Text with noise", len(runs), caption)
    for ax, run in zip(axes, runs, strict=False):
        own = frame[frame["run"] == run]
        levels = sorted(own.loc[own["kind"] == "random", "level"].unique())
        for (kind, level), group in own.groupby(["kind", "level"], dropna=False):
            colour: Colour | str = PALETTE[0] if kind == "correct" else PALETTE[1]
            if kind == "random":
                colour = colormaps["viridis_r"](0.15 + 0.75 * levels.index(level) / max(len(levels) - 1, 1))
            label = f"{level:.0%} random" if kind == "random" else str(kind)
            ax.plot(group["tokens"], group["ppl"], color=colour, linewidth=1.4, label=label)
        _sequence_axes(ax, run)
    if runs:
        legend(axes[0])
    return figure


def mixture_curves(perplexities: pd.DataFrame, *, caption: str = "") -> Figure:
    """Perplexity of text generated from mixtures of a small and a large model, a panel a model: a line per mixture.

    Colours run from mixtures that favour the small model to those that favour the large one; greedy decoding solid,
    nucleus dashed. ``perplexities``: from `trajlab.analysis.sequences.sequence_perplexity`.
    """
    frame = perplexities[perplexities["kind"] == "mixture"]
    frame = frame.assign(large=frame.get("level_large", np.nan))
    frame["favour"] = frame["large"].fillna(0) - frame["level"]
    favours = sorted(frame["favour"].unique())
    figure, axes = _panels("Text generated from model mixtures", frame["run"].nunique(), caption)
    for ax, (run, own) in zip(axes, frame.groupby("run", sort=False), strict=False):
        for (favour, level, large, decoding), group in own.groupby(
            ["favour", "level", "large", "decoding"], dropna=False
        ):
            colour = colormaps["coolwarm"](favours.index(favour) / max(len(favours) - 1, 1))
            label = f"{level:g} small" + (f", {large:g} large" if np.isfinite(large) else "")
            line = "--" if decoding == "nucleus" else "-"
            shown = label if decoding != "nucleus" or "greedy" not in set(own["decoding"]) else None
            ax.plot(group["tokens"], group["ppl"], line, color=colour, linewidth=1.4, label=shown)
        _sequence_axes(ax, str(run))
    if len(frame):
        legend(axes[0], title="λ")
    return figure


def accuracy_curves(frame: pd.DataFrame, *, caption: str = "", title: str = "", chance: float | None = None) -> Figure:
    """Accuracy against perplexity, which falls to the right, and against FLOPs: one shade a model.

    ``frame``: model, parameters, tokens, ppl, accuracy. ``chance`` draws the accuracy of guessing.
    """
    shown = frame[frame["tokens"] > 0]
    figure, axes = new_figure(title or "Task accuracy", caption, columns=2)
    for model, colour, group in _by_size(shown):
        group = group.sort_values("tokens")
        flops = 6.0 * group["parameters"].to_numpy(float) * group["tokens"].to_numpy(float)
        for ax, x in zip(axes, (group["ppl"], flops), strict=True):
            ax.plot(x, 100 * group["accuracy"], color=colour, linewidth=0.8, marker="o", markersize=3, label=model)
    for ax in axes:
        ax.set_ylabel("accuracy (%)")
        if chance is not None:
            ax.axhline(100 * chance, color="0.3", linestyle="--", linewidth=1, label="chance")
    _falling_perplexity(axes[0])
    axes[1].set(xscale="log", xlabel="FLOPs (6 × parameters × tokens)")
    legend(axes[0])
    return figure


def task_panels(frame: pd.DataFrame, tasks: Sequence[str], *, caption: str = "", columns: int = 3) -> Figure:
    """Accuracy of single tasks against perplexity, which falls to the right: a panel a task, one shade a model."""
    figure, axes = _panels("Tasks against perplexity", len(tasks), caption, columns, height=2.4)
    for ax, task in zip(axes, tasks, strict=False):
        for model, colour, group in _by_size(frame[frame["task"] == task]):
            group = group.sort_values("ppl")
            ax.plot(group["ppl"], 100 * group["accuracy"], ".", color=colour, markersize=4, label=model)
        ax.set_title(task)
        ax.set_ylabel("accuracy (%)")
        _falling_perplexity(ax)
    if tasks:
        legend(axes[0])
    return figure


def _panels(title: str, n: int, caption: str, columns: int = 3, height: float = 3.2) -> tuple[Figure, Sequence[Axes]]:
    """Room for ``n`` panels in even rows of up to ``columns``; spare ones are hidden."""
    rows = max(-(-n // columns), 1)
    figure, axes = new_figure(title, caption, rows=rows, columns=max(-(-n // rows), 1), height=height)
    for ax in axes[max(n, 1) :]:
        ax.set_visible(False)
    return figure, axes


def _by_size(frame: pd.DataFrame) -> list[tuple[str, Colour, pd.DataFrame]]:
    """Models from the smallest to the largest with their shades; in order of appearance where sizes are not known."""
    models = list(dict.fromkeys(frame["model"]))
    if "parameters" in frame:
        size = frame.groupby("model", sort=False)["parameters"].first()
        models = sorted(models, key=lambda m: size[m])
    # the middles of equal parts: neither end of the scale, which white or black paper would swallow
    shades = colormaps["viridis_r"](0.2 + 0.75 * (np.arange(len(models)) + 0.5) / max(len(models), 1))
    return [(m, tuple(c), frame[frame["model"] == m]) for m, c in zip(models, shades, strict=False)]


def _falling_perplexity(ax: Axes) -> None:
    ax.set(xscale="log", xlabel="perplexity (falls to the right)")
    if not ax.xaxis_inverted():
        ax.invert_xaxis()
    _plain_log(ax.xaxis)


def _plain_log(axis: object) -> None:
    """2, 5, 10 rather than 2 × 10⁰: perplexities seldom span a decade."""
    axis.set_major_formatter(lambda x, _: human_count(x))  # type: ignore[attr-defined]
    low, high = sorted(axis.get_view_interval())  # type: ignore[attr-defined]
    crowded = low > 0 and np.log10(high / low) > 1.2
    axis.set_minor_formatter(lambda x, _: "" if crowded else human_count(x))  # type: ignore[attr-defined]
    axis.set_tick_params(which="both", labelsize=7)  # type: ignore[attr-defined]


def _sequence_axes(ax: Axes, run: str) -> None:
    ax.set_title(run)
    ax.set(yscale="log", ylabel="perplexity")
    token_axis(ax)
    _plain_log(ax.yaxis)
