"""What of a curve counts as evidence: `checked` for frames from anywhere, `without_spikes`. Losses in nats; K losses seen."""

import numpy as np
import pandas as pd

from trajlab.analysis.curve_laws.curves import split_curves

SPIKE, SPIKE_NOISE = 0.3, 10.0
"""A loss that stands so many nats, and so many times the noise, above those before it is a spike **(ours)**. A rate that is
raised again lifts the loss less than that (0.1 to 0.3 nats for the whole of it)."""
BEFORE = 15
"""Losses before it that a loss is held against: a spike that lasts longer than half of them is the run's new level **(ours)**."""


def checked(curves: pd.DataFrame) -> pd.DataFrame:
    """The frame with numbers in step, loss and lr, in the order of its steps.

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
    return frame.sort_values("step", kind="stable")


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
