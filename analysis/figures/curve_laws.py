"""Curve laws: what was fitted, what was predicted, and a better schedule."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trajlab.analysis.curve_laws import BetterSchedule, Bootstrap, Law, score
from trajlab.analysis.figures.style import PALETTE, human_count, legend, new_figure


def law_curves(
    law: Law, curves: pd.DataFrame, fitted: Collection[str], *, resampled: Bootstrap | None = None, caption: str = ""
) -> Figure:
    """Measured curves (dots) with a law's (lines): those it was fitted to, those it has not seen, and its errors there.

    ``curves`` is frame(curve, step, loss[, lr]), ``fitted`` the names of the fitted ones. With ``resampled`` the unseen have
    a 95 % band for measured losses.
    """
    seen = curves["curve"].isin(list(fitted))
    figure, (left, middle, right) = new_figure(f"{law.name.capitalize()} law", caption, columns=3)
    _curves(left, law, curves[seen], None)
    _curves(middle, law, curves[~seen], resampled)
    _errors(right, law, curves[~seen])
    left.set_title("fitted")
    middle.set_title("not seen in the fit")
    right.set_title("errors where not seen")
    left.set_ylabel("loss (nats per token)")
    return figure


def better_schedule_figure(law: Law, found: BetterSchedule, *, caption: str = "") -> Figure:
    """The schedule that was found and the usual ones: learning rates, and the losses that the law predicts for them."""
    figure, (left, right) = new_figure("Schedules and the losses predicted for them", caption, columns=2)
    finals = found.compared.set_index("schedule")["final_loss"]
    for colour, (name, lr_R) in zip(PALETTE, {**found.usual, "found": found.lr_R}.items(), strict=False):
        width = 2.2 if name == "found" else 1.1
        left.plot(found.step_R, lr_R, label=name, color=colour, linewidth=width)
        label = f"{name}: {finals[name]:.4f}"
        right.plot(found.step_R, law.predict(found.step_R, lr_R), label=label, color=colour, linewidth=width)
    left.set_ylabel("learning rate")
    right.set_ylabel("predicted loss (nats per token)")
    losses = law.predict(found.step_R, found.lr_R)
    right.set_ylim(np.nanmin(losses) - 0.02, np.nanquantile(losses, 0.8))
    for ax in (left, right):
        _step_axis(ax)
    legend(left)
    legend(right, title="loss at the end")
    return figure


def _curves(ax: Axes, law: Law, curves: pd.DataFrame, resampled: Bootstrap | None) -> None:
    for colour, (name, run) in zip(PALETTE * 4, curves.groupby("curve", sort=False), strict=False):
        run = run.sort_values("step")
        lr = run["lr"] if law.needs_lr else None
        ax.plot(run["step"], run["loss"], ".", color=colour, markersize=2, alpha=0.45)
        ax.plot(run["step"], law.predict(run["step"], lr), color=colour, linewidth=1.2, label=str(name))
        if resampled is not None:
            band = resampled.band(run["step"], lr, noise=True)
            ax.fill_between(band["step"], band["low"], band["high"], color=colour, alpha=0.2, linewidth=0)
    low, high = curves["loss"].min(), curves["loss"].quantile(0.97)
    ax.set_ylim(low - 0.05 * (high - low), high)
    _step_axis(ax)
    legend(ax)


def _errors(ax: Axes, law: Law, curves: pd.DataFrame) -> None:
    r2 = score(law, curves).set_index("curve")["r2"]
    for colour, (name, run) in zip(PALETTE * 4, curves.groupby("curve", sort=False), strict=False):
        run = run.sort_values("step")
        error = law.predict(run["step"], run["lr"] if law.needs_lr else None) - run["loss"]
        ax.plot(run["step"], error, color=colour, linewidth=0.9, label=f"R² {r2[str(name)]:.4f}")
    ax.axhline(0, color="0.3", linewidth=0.8)
    ax.set_ylabel("prediction − loss (nats)")
    _step_axis(ax)
    legend(ax)


def _step_axis(ax: Axes) -> None:
    ax.set_xlabel("step")
    ax.xaxis.set_major_formatter(lambda x, _: human_count(x))
