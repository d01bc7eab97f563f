"""Spikes of single training steps and their share (docs/methods.md §1; OLMo 2), from table `steps`."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.stability import curves


def step_spikes(
    steps: pd.DataFrame, threshold: float = 7.0, window: int = 1000, *, history: int = 100, value: str = "train_loss"
) -> pd.DataFrame:
    """Table `steps` with ``z``, ``spike`` and ``spike_score`` added (OLMo 2's definition).

    ``z`` is how many sd a step's loss lies above the mean of the ``window`` steps before it; nan while there are fewer than
    ``history`` before it. A spike has z ≥ ``threshold``; the score is the run's percentage of spikes. A loss that is not
    finite counts as a spike and is left out of later means. Raises KeyError without ``step`` and ``value``.
    """
    missing = {"step", value} - set(steps.columns)
    if missing:
        raise KeyError(f"no column {', '.join(sorted(missing))}: step_spikes reads table steps")
    keys = [c for c in ("experiment", "run", "seed") if c in steps]
    frame = steps.sort_values([*keys, "step"], kind="stable", ignore_index=True)
    parts = []
    for _, run in curves(frame, keys):
        loss = run[value].to_numpy(float)
        z = _excess(loss, window, min(history, window))
        spike = (z >= threshold) | ~np.isfinite(loss)
        parts.append(run.assign(z=z, spike=spike, spike_score=100 * spike.mean()))
    return pd.concat(parts, ignore_index=True) if parts else frame


def _excess(loss: NDArray[np.float64], window: int, history: int) -> NDArray[np.float64]:
    """(loss − mean)/sd of the steps before; centred on the median first, since pandas keeps running sums."""
    finite = pd.Series(np.where(np.isfinite(loss), loss, np.nan))
    centred = finite - finite.median()
    before = centred.shift(1).rolling(window, min_periods=max(history, 2))
    excess, sd = centred - before.mean(), before.std()
    noise = 1e-9 * float(finite.abs().max())
    z = excess / sd.where(sd > noise)
    flat = sd.notna() & (sd <= noise)
    z[flat] = np.where(excess[flat] > 1e3 * noise, np.inf, 0.0)
    return z.to_numpy()


def spike_scores(steps: pd.DataFrame) -> pd.DataFrame:
    """A row per run of `step_spikes`' frame: steps, spikes, spike score (percent), largest z."""
    keys = [c for c in ("experiment", "run", "seed") if c in steps]
    groups = steps.groupby(keys, sort=False, dropna=False)
    return groups.agg(
        steps=("step", "size"), spikes=("spike", "sum"), spike_score=("spike_score", "first"), largest_z=("z", "max")
    ).reset_index()
