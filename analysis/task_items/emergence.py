"""At which checkpoint a question is learned for good, forgotten, learned again (docs/task_items.md).

Right or wrong at one checkpoint is a coin near its edge. So a question counts as known only once its margin (right option
less the best other one) is above a threshold, as not known once it is below the negative one, and as before in between. The
threshold is set so that a margin without any trend, around 0, crosses from one to the other in `ALPHA` of series: further
from 0 it does so less often. Shapes: M questions, C checkpoints, P autocorrelations.
"""

from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trajlab.analysis.task_items.grid import ItemGrid
from trajlab.analysis.token_trends.chance import PHIS, WALK, UpwardExcess, ar1, upward_excess
from trajlab.analysis.token_trends.classes import classify_trends

KINDS = ("always", "learned", "relearned", "forgotten", "never", "undecided")
"""``relearned``: known, lost, known at the end; ``undecided``: never clearly known nor clearly not known."""
ALPHA = 0.05
"""Share of trendless questions at the edge that seem to be learned or forgotten all the same."""
SIMULATED = 4_000
"""Series for each autocorrelation: the threshold's own share is exact to 0.4 percentage points."""
FEWEST = 6
"""Checkpoints from which on a question's own noise can be told from its differences **(ours)**."""


def emergence(margin_MC: ArrayLike, alpha: float = ALPHA, seed: int = 0) -> pd.DataFrame:
    """A row per question, in order: kind (`KINDS`), learned, forgotten (columns, -1: not), changes, noise.

    ``learned`` is the first checkpoint of the stretch of right answers that led to its being known to the end; ``forgotten``
    the first wrong one after it was known for the last time. ``noise`` is the question's own noise in the margin's unit, from
    differences of neighbouring checkpoints, so that a step of learning hardly counts into it.

    Questions without a finite margin are undecided. Raises ValueError for fewer than six checkpoints: noise can't be told
    from learning there.
    """
    margin = np.asarray(margin_MC, dtype=float)
    if margin.ndim != 2 or margin.shape[1] < FEWEST:
        raise ValueError(f"margin_MC has shape {margin.shape}: expected questions × {FEWEST} or more checkpoints")
    told = np.isfinite(margin).all(axis=1)
    noise_M = np.full(len(margin), np.nan)
    state_MC = np.zeros(margin.shape, dtype=int)
    if told.any():
        scale_M = _scale(margin[told])
        phi = _autocorrelation(margin[told] / scale_M[:, None], seed)
        level = _threshold(phi, margin.shape[1], alpha, seed)
        noise_M[told] = scale_M
        state_MC[told] = _states(margin[told], level * scale_M[:, None])
    rows = [_row(m, s) for m, s in zip(margin, state_MC, strict=True)]
    table = pd.DataFrame(rows, columns=["kind", "learned", "forgotten", "changes"])
    return table.assign(kind=pd.Categorical(table["kind"], KINDS), noise=noise_M)


def item_trends(grid: ItemGrid, start: int = 0) -> tuple[pd.Series, UpwardExcess]:
    """The trend of each right option's bits per byte, by the token trends' test (AR(1), BH), and the share that rises.

    Downward is learned, upward unlearned; the second number is the upward share against what trendless questions with the
    same noise, shared and own, would show. Questions without a right option are left out. Raises ValueError where fewer
    than three checkpoints are left, or no question.
    """
    told = np.isfinite(grid.bits_MC).all(axis=1)
    if not told.any():
        raise ValueError("no question has a right option with a likelihood")
    bits_MC = grid.bits_MC[told, start:]
    trend = classify_trends(bits_MC, test="ar1", adjust="bh")["trend"]
    return trend.set_axis(np.flatnonzero(told)), upward_excess(bits_MC, np.arange(len(bits_MC)))


def _scale(margin_MC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median absolute difference of neighbours for each question; tiny ones are kept off 0."""
    scale_M = np.median(np.abs(np.diff(margin_MC, axis=1)), axis=1)
    return np.asarray(np.maximum(scale_M, 1e-9 + 1e-6 * np.abs(margin_MC).max(axis=1)))


def _lag_one(z_MC: NDArray[np.float64]) -> float:
    """Lag-one correlation of differences, cut at three times the median: −1/2 for white noise, 0 for a random walk.

    Differences know neither level nor slow trend; a jump counts no more than a large difference.
    """
    d = np.clip(np.diff(z_MC, axis=-1), -3, 3)
    return float((d[..., 1:] * d[..., :-1]).mean() / np.square(d).mean())


@lru_cache(maxsize=32)
def _simulated(checkpoints: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Trendless series around 0 in units of their own scale: lag-one correlation (P,), and how far both ways they reach
    (P, series), which is the lower of their highest and their negative lowest value."""
    rng = np.random.default_rng(seed)
    looks, reach = [], []
    for phi in PHIS:
        y_MC = ar1(phi, (SIMULATED, checkpoints), rng)
        z_MC = y_MC / _scale(y_MC)[:, None]
        looks.append(_lag_one(z_MC))
        reach.append(np.minimum(z_MC.max(axis=1), -z_MC.min(axis=1)))
    return np.array(looks), np.array(reach)


def _autocorrelation(z_MC: NDArray[np.float64], seed: int) -> float:
    """φ whose simulated series have the questions' lag-one correlation; 1 above `WALK`, which looks like it."""
    looks = np.maximum.accumulate(_simulated(z_MC.shape[1], seed)[0]) + 1e-9 * np.arange(len(PHIS))
    phi = float(np.interp(_lag_one(z_MC), looks, PHIS))
    return 1.0 if phi > WALK else phi


def _threshold(phi: float, checkpoints: int, alpha: float, seed: int) -> float:
    """Of the simulated autocorrelations on both sides of φ the higher threshold."""
    levels = np.quantile(_simulated(checkpoints, seed)[1], 1 - alpha, axis=1)
    right = min(int(np.searchsorted(PHIS, phi)), len(PHIS) - 1)
    return float(max(levels[max(right - 1, 0)], levels[right]))


def _states(margin_MC: NDArray[np.float64], threshold: NDArray[np.float64]) -> NDArray[np.int_]:
    """+1 known, −1 not known, 0 not yet clear."""
    state_MC = np.where(margin_MC > threshold, 1, np.where(margin_MC < -threshold, -1, 0))
    for c in range(1, state_MC.shape[1]):
        state_MC[:, c] = np.where(state_MC[:, c] == 0, state_MC[:, c - 1], state_MC[:, c])
    return state_MC


def _row(margin_C: NDArray[np.float64], state_C: NDArray[np.int_]) -> tuple[str, int, int, int]:
    clear = np.flatnonzero(state_C)
    if not len(clear):
        return "undecided", -1, -1, 0
    turns = clear[1:][np.diff(state_C[clear]) != 0]
    ups, downs = [c for c in turns if state_C[c] > 0], [c for c in turns if state_C[c] < 0]
    learned = _since(margin_C > 0, ups[-1]) if ups and state_C[-1] > 0 else -1
    forgotten = _since(margin_C <= 0, downs[-1]) if downs else -1
    known_before = state_C[clear[0]] > 0 or bool(downs)
    if not len(turns):
        kind = "always" if state_C[-1] > 0 else "never"
    elif state_C[-1] < 0:
        kind = "forgotten"
    else:
        kind = "relearned" if known_before else "learned"
    return kind, learned, forgotten, len(turns)


def _since(true_C: NDArray[np.bool_], at: int) -> int:
    """The first checkpoint of the unbroken stretch that ends at ``at``."""
    before = np.flatnonzero(~true_C[: at + 1])
    return int(before[-1]) + 1 if len(before) else 0
