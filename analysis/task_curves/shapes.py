"""The shape of a curve of scores: improvement, linearity, breakthroughness (BIG-bench, arXiv 2206.04615)."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trajlab.analysis.task_curves.least_squares import least_squares_r2


def improvement(y: ArrayLike) -> float:
    """I(y) = sign(argmax y − argmin y)·(max y − min y): the range, negative where the best comes before the worst."""
    values = _curve(y)
    return float(np.sign(np.argmax(values) - np.argmin(values)) * (values.max() - values.min()))


def linearity(y: ArrayLike) -> float:
    """L(y) = I(y)/√(mean z²), z the successive differences; BIG-bench (Srivastava et al. 2022, arXiv 2206.04615).

    ``y`` is a score at increasing scale. At most n − 1 for n points, reached by a straight rise; 0 for a constant.

    >>> linearity([1, 2, 3, 4])
    3.0
    """
    return _per_step(y, np.mean)


def breakthroughness(y: ArrayLike) -> float:
    """B(y) = I(y)/√(median z²), z the successive differences; BIG-bench (arXiv 2206.04615).

    Large where most of the rise comes in few of the steps; infinite where at least half of the steps are exactly flat. It
    is a ratio to the typical step, so on noisy curves it measures the noise: see docs/log.md before trusting it there.
    """
    return _per_step(y, np.median)


def _per_step(y: ArrayLike, centre: Callable[[NDArray[np.float64]], float]) -> float:
    gain, step = improvement(y), math.sqrt(centre(np.diff(_curve(y)) ** 2))
    if gain == 0:
        return 0.0
    return math.copysign(math.inf, gain) if step == 0 else gain / step


def _curve(y: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(y, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"y has shape {values.shape}: expected two or more finite scores at increasing scale")
    return values


def task_shapes(frame: pd.DataFrame) -> pd.DataFrame:
    """Linearity and breakthroughness of every task along the joint trajectory of all sizes; least linear first.

    ``frame``: task, ppl, accuracy, a row per task × checkpoint of any model. Checkpoints are ordered by falling perplexity
    (later rows second where it ties), which is the scale on which sizes agree. ``r2`` is that of accuracy on ln ppl.
    Columns: task, checkpoints, improvement, linearity, breakthroughness, r2.
    """
    rows = []
    for task, group in frame.groupby("task"):
        group = group.sort_values("ppl", ascending=False, kind="stable")
        y = group["accuracy"].to_numpy()
        r2 = least_squares_r2([np.log(group["ppl"].to_numpy())], y)[0] if np.ptp(y) > 0 else np.nan
        rows.append((task, len(y), improvement(y), linearity(y), breakthroughness(y), r2))
    columns = ["task", "checkpoints", "improvement", "linearity", "breakthroughness", "r2"]
    return pd.DataFrame(rows, columns=columns).sort_values("linearity", ignore_index=True)
