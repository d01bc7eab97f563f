"""Figures of the temporal scaling law: position curves, parameters along training, forecasts."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from trajlab.analysis.figures.style import PALETTE, beside, human_count, legend, new_figure, plain_log, token_axis
from trajlab.analysis.position_law import PositionLaw
from trajlab.analysis.temporal_law import Forecast, TemporalLaw

SHOWN = 6
"""Checkpoints of a figure of position curves."""


def fitted_positions(law: PositionLaw, tokens_K: np.ndarray, *, caption: str = "", title: str = "") -> Figure:
    """The loss by position at a few checkpoints, dots, and the hyperbolas fitted to it, lines."""
    figure, (ax,) = new_figure(title or "Loss by position in the context, with the position law", caption)
    rows = np.unique(np.linspace(1 if len(tokens_K) > 1 else 0, len(tokens_K) - 1, SHOWN).round().astype(int))
    predicted_KP = law.predict()
    for shade, k in zip(colormaps["viridis"](np.linspace(0, 0.9, len(rows))), rows, strict=True):
        flag = "" if law.flag_K[k] == "ok" else f" ({law.flag_K[k]})"
        ax.plot(law.positions_P, law.loss_KP[k], ".", color=shade, markersize=2.5)
        ax.plot(law.positions_P, predicted_KP[k], color=shade, linewidth=1, label=human_count(tokens_K[k]) + flag)
    plain_log(ax)
    ax.set_xlabel("position in the context")
    ax.set_ylabel("loss (nats per token)")
    beside(ax, title="tokens seen")
    return figure


def parameters_along_training(
    position_law: PositionLaw, tokens_K: np.ndarray, law: TemporalLaw | None, *, caption: str = "", title: str = ""
) -> Figure:
    """a0, a1 and a2 of each checkpoint with their standard errors, and the temporal law's curves through them."""
    figure, axes = new_figure(title or "The position law along training", caption, columns=3)
    values = (position_law.a0_K, position_law.a1_K, position_law.a2_K)
    labels = ("a0 (nats): gap", "a1 (1/position): length scale", "a2 (nats): limit of long contexts")
    shown_K = np.isin(position_law.flag_K, ("ok", "at_bound"))
    grid = np.linspace(tokens_K[tokens_K > 0].min(), tokens_K.max(), 200)
    for j, (ax, value_K, label) in enumerate(zip(axes, values, labels, strict=True)):
        error_K = np.nan_to_num(position_law.stderr()[:, j])
        narrow_K = shown_K & (error_K < np.ptp(value_K[shown_K]) + 1e-12) if shown_K.any() else shown_K
        ax.plot(tokens_K[shown_K], value_K[shown_K], ".", color=PALETTE[0], markersize=3)
        ax.errorbar(tokens_K[narrow_K], value_K[narrow_K], error_K[narrow_K], fmt="none", color=PALETTE[0], alpha=0.4)
        if law is not None:
            ax.plot(grid, law.parameters_at(grid)[j], color=PALETTE[1], label=law.forms[("a0", "a1", "a2")[j]].name)
            ax.axvline(law.last_tokens, color="0.6", linewidth=0.8, linestyle=":")
            legend(ax)
        ax.set_ylabel(label)
        token_axis(ax)
    return figure


def forecast_curves(
    tokens_K: np.ndarray, loss_K: np.ndarray, result: Forecast, *, caption: str = "", title: str = ""
) -> Figure:
    """What was measured, and each law's forecast of the later part; the temporal law with its band."""
    figure, (ax,) = new_figure(title or f"Forecast from the first {result.fraction:.0%} of the tokens", caption)
    ax.plot(tokens_K[1:], loss_K[1:], ".", color="0.3", markersize=3, label="measured")
    ax.axvline(result.fraction * tokens_K[-1], color="0.6", linewidth=0.8, linestyle=":")
    for colour, p in zip(PALETTE, result.projections, strict=False):
        if p.refused:
            ax.plot([], [], color=colour, linestyle=":", label=f"{p.law}: refused")
            continue
        main = p.law == "temporal"
        ax.plot(result.tokens_M, p.loss_M, color=colour, linewidth=2 if main else 1, label=p.law)
        if main:
            ax.fill_between(result.tokens_M, p.low_M, p.high_M, color=colour, alpha=0.2, linewidth=0)
    late = loss_K[np.isfinite(loss_K)][len(loss_K) // 10 :]
    margin = 0.25 * np.ptp(late) + 1e-3
    ax.set_ylim(late.min() - margin, late.max() + margin)
    ax.set_ylabel("loss (nats per token)")
    token_axis(ax)
    beside(ax)
    return figure


def live_forecasts(forecasts: pd.DataFrame, final_loss: float, *, caption: str = "", title: str = "") -> Figure:
    """The final loss as it was forecast along a run, one line per law, and what it came to."""
    figure, (ax,) = new_figure(title or "The final loss as forecast along the run", caption)
    for colour, (law, rows) in zip(PALETTE, forecasts.dropna(subset=["forecast"]).groupby("law"), strict=False):
        ax.plot(rows["tokens"], rows["forecast"], ".-", color=colour, linewidth=1, label=str(law))
        if law == "default":  # the others' bands know only the noise of their evidence
            ax.fill_between(rows["tokens"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
    ax.axhline(final_loss, color="0.3", linestyle="--", linewidth=1, label=f"final loss {final_loss:.3f}")
    ax.set_ylabel("forecast of the final loss (nats per token)")
    token_axis(ax)
    beside(ax)
    return figure
