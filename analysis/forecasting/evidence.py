"""What of a curve counts as evidence: `checked` for frames from anywhere, `with_rates`, `without_spikes`. Losses in nats; K losses seen."""

import numpy as np
import pandas as pd

from trajlab.analysis.curve_laws.curves import split_curves

SPIKE, SPIKE_NOISE = 0.3, 10.0
"""A loss that stands so many nats, and so many times the noise, above those before it is a spike **(ours)**. A rate that is
raised again lifts the loss less than that (0.1 to 0.3 nats for the whole of it)."""
BEFORE = 15
"""Losses before it that a loss is held against: a spike that lasts longer than half of them is the run's new level **(ours)**."""

GAP = 0.1
"""Rates are filled in between two that are no farther apart than this share of the run **(ours)**: what a whole cooldown fits
into is not guessed."""


def with_rates(curves: pd.DataFrame) -> pd.DataFrame:
    """The frame with missing rates (NaN) filled in from those of the same curve, where these leave no doubt.

    Logs often have the rate in other rows than the loss. A missing one lies on the line between its neighbours (`GAP`). One before the
    first rate known takes that; one after the last takes that if it is no farther off than the median distance between known ones.
    All others stay missing, and the schedule unknown.
    """
    if "lr" not in curves or curves["lr"].notna().all():
        return curves
    of = curves["curve"] if "curve" in curves else pd.Series("curve", curves.index)
    filled = curves["lr"].to_numpy(float).copy()
    steps = curves["step"].to_numpy(float)
    for rows in of.reset_index(drop=True).groupby(of.to_numpy(), sort=False).groups.values():
        filled[rows] = _filled(steps[rows], filled[rows])
    return curves.assign(lr=filled)


def _filled(step_R: np.ndarray, lr_R: np.ndarray) -> np.ndarray:
    order = np.argsort(step_R, kind="stable")
    known = order[~np.isnan(lr_R[order])]
    if len(known) < 2:
        return lr_R
    at, rate = step_R[known], lr_R[known]
    after = np.searchsorted(at, step_R)  # the first known one at or after each row
    inside = (after > 0) & (after < len(at))
    apart_R = at[np.minimum(after, len(at) - 1)] - at[np.maximum(after - 1, 0)]
    sure = np.where(inside, apart_R <= GAP * (step_R.max() - step_R.min()), step_R <= at[-1] + np.median(np.diff(at)))
    return np.where(np.isnan(lr_R) & sure, np.interp(step_R, at, rate), lr_R)


def checked(curves: pd.DataFrame) -> pd.DataFrame:
    """The frame with numbers in step, loss and lr (`with_rates`), in the order of its steps.

    Raises ValueError for a missing column or an empty frame, for what is no number, for steps that are negative or not
    finite, and for losses that aren't positive and finite (NaN is a loss not measured); the message names curve and step.
    """
    if missing := [name for name in ("step", "loss") if name not in curves]:
        raise ValueError(f"curves: no column {' nor '.join(missing)}; needed are curve, step, loss, and lr if known")
    if curves.empty:
        raise ValueError("curves: the frame has no rows")
    numbers = {}
    for name in ("step", "loss", *(["lr"] if "lr" in curves else [])):
        try:
            numbers[name] = pd.to_numeric(curves[name]).astype(float)
        except (ValueError, TypeError) as e:
            raise ValueError(f"curves: column {name} holds something that is no number: {e}") from e
    frame = curves.assign(**numbers)
    split_curves(frame.drop(columns="lr", errors="ignore"))
    return with_rates(frame).sort_values("step", kind="stable")


def without_spikes(loss_K: np.ndarray, noise: float, unit: float = 1.0) -> np.ndarray:
    """The losses with NaN in place of spikes: what stands far above the median of the losses before it.

    A loss that falls is never one, however steep, so nothing is lost of an ordinary curve.
    """
    known = np.flatnonzero(np.isfinite(loss_K))
    kept_K, losses = np.asarray(loss_K, float).copy(), loss_K[known]
    for i in range(3, len(known)):
        if losses[i] > np.median(losses[max(0, i - BEFORE) : i]) + max(SPIKE * unit, SPIKE_NOISE * noise):
            kept_K[known[i]] = np.nan
    return kept_K
