"""Figures of single questions: accuracy beside its smooth companion, and when questions are learned."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trajlab.analysis.figures.style import legend, line_style, new_figure, token_axis


def companion_curves(frames: Mapping[str, pd.DataFrame], *, caption: str = "", title: str = "") -> Figure:
    """Accuracy and bits per byte along training with 95 % bands over questions; a line per model.

    ``frames``: by model, a row per checkpoint with tokens, accuracy, bits and their limits
    (`trajlab.analysis.task_items.smooth_companion` of one task).
    """
    figure, axes = new_figure(title or "Right answers and what they cost", caption, columns=2)
    for place, (model, frame) in enumerate(frames.items()):
        colour, dash = line_style(place)
        for ax, name in zip(axes, ("accuracy", "bits"), strict=True):
            ax.plot(frame["tokens"], frame[name], color=colour, linestyle=dash, linewidth=1.4, label=model)
            ax.fill_between(frame["tokens"], frame[f"{name}_low"], frame[f"{name}_high"], color=colour, alpha=0.15)
    axes[0].set(ylabel="accuracy")
    axes[1].set(ylabel="bits per byte of the right option")
    for ax in axes:
        token_axis(ax)
    legend(axes[0])
    return figure


def learned_curves(learned: Mapping[str, np.ndarray], *, caption: str = "") -> Figure:
    """Share of questions learned for good by a token count; ``learned``: by model, tokens per question, NaN: not learned."""
    figure, (ax,) = new_figure("Questions learned for good", caption)
    for place, (model, tokens_M) in enumerate(learned.items()):
        at = np.sort(tokens_M[np.isfinite(tokens_M)])
        share = np.arange(1, len(at) + 1) / len(tokens_M)
        colour, dash = line_style(place)
        ax.step(at, share, where="post", color=colour, linestyle=dash, linewidth=1.4, label=model)
    ax.set(ylabel="share of questions", ylim=(0, None))
    token_axis(ax)
    legend(ax)
    return figure
