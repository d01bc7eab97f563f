"""Where training turns, without choosing the place on the data that test it (docs/methods.md §2).

`turning_point` tests whether the mean curve falls to some interval and rises from there, gives the size of both cross-fitted
over seeds, and the set of intervals that may be the lowest. Legend: B sign flips, S seeds, K, J intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.statistics.cross_fitting import cross_fitted
from trajlab.analysis.statistics.grids import complete_grid
from trajlab.analysis.statistics.resampling import EXACT_SIGN_FLIPS

DRAWS = 1999
ROUNDING = 1e-12


@dataclass(frozen=True)
class Turn:
    """Whether and where the mean curve over seeds turns."""

    best: Any
    """The interval with the lowest mean."""
    p_fall: float
    """One-sided p that the curve falls from the first to some interval, over all of them."""
    p_rise: float
    """The same of a rise from some interval to the last."""
    p: float
    """Of a turn: the larger of the two, since a turn needs both."""
    confidence_set: tuple[Any, ...]
    """The intervals that are not shown to lie above another; holds the lowest one in 95 % of data sets at least."""


@dataclass(frozen=True)
class TurningPoint(Turn):
    """A turn, and how far the mean curve falls and rises."""

    fall: float
    fall_low: float
    fall_high: float
    """First minus best, with the 95 % interval of `cross_fitted`."""
    rise: float
    rise_low: float
    rise_high: float
    """Last minus best, the same way."""

    def table(self) -> pd.DataFrame:
        """One row."""
        return pd.DataFrame([{**vars(self), "confidence_set": ", ".join(map(str, self.confidence_set))}])


def turning_point(
    frame: pd.DataFrame, dv: str, within: str, subject: str, *, alpha: float = 0.05, seed: int = 0
) -> TurningPoint:
    """Whether and where the mean of ``dv`` over ``subject`` has its lowest level of ``within``.

    p values are exact under symmetric errors, whatever their covariance along the curve: the statistic is the largest of
    mean ÷ root mean square over the intervals, compared with that of whole curves whose signs are flipped. The smallest p is
    1/2ⁿ, so under five seeds no turn is ever declared and the set holds every interval. Raises ValueError as
    `complete_grid` does, and under two seeds.
    """
    grid = complete_grid(frame, dv, within, subject)
    y_SK = grid.to_numpy()
    turn = turn_of(y_SK, list(grid.columns), alpha=alpha, seed=seed)
    fall, fall_low, fall_high = cross_fitted(y_SK, 0)
    rise, rise_low, rise_high = cross_fitted(y_SK, -1)
    return TurningPoint(
        **vars(turn),
        fall=fall,
        fall_low=fall_low,
        fall_high=fall_high,
        rise=rise,
        rise_low=rise_low,
        rise_high=rise_high,
    )


def turn_of(
    y_SK: NDArray[np.float64], levels: Sequence[Any] | None = None, *, alpha: float = 0.05, seed: int = 0
) -> Turn:
    """As `turning_point`, without sizes, of a complete grid whose columns are ``levels``, by default their numbers."""
    levels = range(y_SK.shape[1]) if levels is None else levels
    signs_BS = _signs(len(y_SK), np.random.default_rng(seed))
    p_fall = float(_largest_p((y_SK[:, :1] - y_SK[:, 1:])[None], signs_BS)[0])
    p_rise = float(_largest_p((y_SK[:, -1:] - y_SK[:, :-1])[None], signs_BS)[0])
    above_KSJ = np.stack([y_SK[:, [k]] - np.delete(y_SK, k, 1) for k in range(y_SK.shape[1])])
    inside = [levels[int(k)] for k in np.flatnonzero(_largest_p(above_KSJ, signs_BS) > alpha)]
    best = int(y_SK.mean(0).argmin())
    return Turn(levels[best], p_fall, p_rise, max(p_fall, p_rise), tuple(inside or [levels[best]]))


def _signs(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """All 2ⁿ sign vectors, or seeded draws with the identity in front."""
    if n <= EXACT_SIGN_FLIPS:
        return np.asarray(1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1))
    return np.vstack([np.ones(n), rng.choice([-1.0, 1.0], (DRAWS, n))])


def _largest_p(d_XSK: NDArray[np.float64], signs_BS: NDArray[np.float64]) -> NDArray[np.float64]:
    """p of max over k of mean ÷ rms for each X; no flip changes the rms. The identity is among the flips."""
    rms_XK = np.sqrt(np.square(d_XSK).mean(1))
    scaled_XSK = d_XSK / np.where(rms_XK > 0, rms_XK, 1.0)[:, None] / d_XSK.shape[1]
    largest_XB = np.full((len(d_XSK), len(signs_BS)), -np.inf)
    block = max(1, 500_000 // max(scaled_XSK[:, 0].size, 1))  # a few megabytes at once
    for start in range(0, len(signs_BS), block):
        part = slice(start, start + block)
        largest_XB[:, part] = (signs_BS[part] @ scaled_XSK).max(-1)
    return np.asarray((largest_XB >= largest_XB[:, :1] - ROUNDING).mean(-1))
