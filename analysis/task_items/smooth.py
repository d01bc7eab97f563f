"""Accuracy and its smooth companion, the right option's bits per byte, by checkpoint (docs/task_items.md)."""

import numpy as np
import pandas as pd

from trajlab.analysis.statistics.intervals import t_interval
from trajlab.analysis.task_items.grid import ItemGrid


def smooth_companion(grid: ItemGrid, level: float = 0.95) -> pd.DataFrame:
    """A row per task × checkpoint: n, accuracy, bits (mean bits per byte of the right option), each with its interval.

    Intervals are Student's over questions: they hold other questions of the kind, under this checkpoint. ``change_z`` and
    ``bits_change_z`` are the change since the checkpoint before over its *paired* standard error: where accuracy stands
    still within its noise, bits often move.
    """
    rows = []
    for task in dict.fromkeys(grid.items["task"]):
        own = grid.of(str(task))
        for column, mark in enumerate(own.checkpoints.itertuples(index=False)):
            row = {"task": task, **mark._asdict(), "n": len(own.items)}
            for name, values, change in (
                ("accuracy", own.correct_MC, "change_z"),
                ("bits", own.bits_MC, "bits_change_z"),
            ):
                mean, low, high = _mean(values[:, column], level)
                row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
                row[change] = _paired_z(values[:, column - 1], values[:, column]) if column else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def _mean(values_M: np.ndarray, level: float) -> tuple[float, float, float]:
    known = values_M[np.isfinite(values_M)]
    if not len(known):
        return (float("nan"),) * 3
    error = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    low, high = t_interval(float(known.mean()), error, len(known), level)
    return float(known.mean()), float(low), float(high)


def _paired_z(before_M: np.ndarray, after_M: np.ndarray) -> float:
    d = (after_M - before_M)[np.isfinite(after_M - before_M)]
    error = d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else 0.0
    return float(d.mean() / error) if error > 0 else float("nan")
