"""What `response` says of one run's rest, under any prior: `SeenRun`.

Its spread counts the noise, the misfit and what the prior leaves open, all as the archive knows them. A run that is not like the
archive's shows it in its own past, so the spread is scaled by how far the law, fitted on a first part of the losses seen, was off
on those that followed: the archive counts as one such test, and a run's own as one each. The bands are calibrated on spreads
scaled in the same way, so they are no wider for it where curves are like the archive's. Where the rate isn't known there are no such
tests: most runs end in a fall of the rate, of which nothing is in their past (a scale made Winkler's score there worse).
Shapes: R rows of a run up to its horizon, K of them seen, M ahead, L of a test.
"""

from dataclasses import dataclass

import numpy as np

from trajlab.analysis.forecasting.archive import Prior
from trajlab.analysis.forecasting.gaussian import TYPICAL, Conditioned, Points
from trajlab.analysis.forecasting.response import Basis

CUTS = (0.4, 0.6, 0.8)
"""Shares of the losses that count on which the law is fitted for a test **(ours)**."""
LATE = 1 / 3
"""Share of a test's losses, the last ones, whose mean counts **(ours)**: one loss alone may be noise."""
ENOUGH = 12
"""Losses seen below which there is no test **(ours)**: of eight, the first five hardly tell a law."""
TRUST = 1.0
"""How many of a run's own tests the archive counts as **(ours)**.

In sight when chosen: the published runs, each family left out. Winkler's score of the final loss, mean of families, geometric mean over
shares seen: 0.103, 0.099, 0.100, 0.105 with 0.5, 1, 2, 5, and 0.114 without a scale."""


@dataclass(frozen=True)
class LawForecast:
    """Of the rows ahead."""

    mean_M: np.ndarray
    spread_M: np.ndarray
    """With the noise of a measured loss."""
    noise: float
    """Standard deviation of a single loss about its neighbours."""


@dataclass(frozen=True)
class _Part:
    """The first losses of a run, before any prior."""

    said: Conditioned
    noise: float
    unit: float
    peak: float | None

    @classmethod
    def of(cls, basis: Basis, loss_K: np.ndarray, seen: int, ahead_M: np.ndarray) -> "_Part":
        loss_R = np.concatenate([loss_K[:seen], np.full(len(basis.share_R) - seen, np.nan)])
        points = Points.of(basis, loss_R, seen)
        return cls(Conditioned.of(basis, points, ahead_M), points.noise, points.unit, basis.peak)

    def mixed(self, prior: Prior, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance over all shapes, without noise, in units of ``unit``; the run is taken to end near ``level``."""
        found = self.said.under(*prior.coefficients(self.peak, level))
        log_G = found.evidence_G + prior.log_weight_G
        weight_G = np.exp(log_G - log_G.max())
        weight_G /= weight_G.sum()
        mean_M = weight_G @ found.mean_GM
        return mean_M, weight_G @ (found.variance_GM + (found.mean_GM - mean_M) ** 2)


@dataclass(frozen=True)
class _Test:
    """A first part, and what came of the row in the middle of the last losses seen after it."""

    part: _Part
    came: float
    """Mean of so many losses, nats."""
    losses: int

    def squared(self, prior: Prior, level: float) -> float:
        """The squared error in units of its own spread."""
        mean_M, variance_M = self.part.mixed(prior, level)
        error = self.came / self.part.unit - mean_M[-1]
        return float(error**2 / (variance_M[-1] + self.part.noise**2 / self.losses))


@dataclass(frozen=True)
class SeenRun:
    """The losses seen of one run, ready for any prior."""

    whole: _Part
    tests: tuple[_Test, ...]

    @classmethod
    def of(cls, basis: Basis, loss_K: np.ndarray, seen: int, ahead_M: np.ndarray) -> "SeenRun":
        """Of the first ``seen`` losses (NaN where there is none). Raises ValueError where fewer than 3 are usable."""
        rows = counted(basis, loss_K, seen)
        cuts = [int(cut * len(rows)) for cut in CUTS] if len(rows) >= ENOUGH and basis.peak is not None else []
        tests = (_test(basis, loss_K, rows[:cut], rows[cut:]) for cut in cuts)
        return cls(_Part.of(basis, loss_K, seen, ahead_M), tuple(test for test in tests if test is not None))

    def forecast(self, prior: Prior) -> LawForecast:
        """Nats. The prior's gain depends on where the run ends, so that is forecast once from a typical end."""
        level = float(self.whole.mixed(prior, TYPICAL)[0][-1])
        mean_M, variance_M = self.whole.mixed(prior, level)
        squared = [test.squared(prior, level) for test in self.tests]
        scale = np.sqrt((TRUST + sum(squared)) / (TRUST + len(squared)))
        unit, noise = self.whole.unit, self.whole.noise
        return LawForecast(unit * mean_M, unit * scale * np.sqrt(variance_M + noise**2), unit * noise)


def counted(basis: Basis, loss_K: np.ndarray, seen: int) -> np.ndarray:
    """The rows whose losses count: after the warm-up, measured, and with a step above 0."""
    row_K = np.arange(seen)
    return np.flatnonzero((row_K >= basis.first) & (basis.share_R[:seen] > 0) & np.isfinite(loss_K[:seen]))


def _test(basis: Basis, loss_K: np.ndarray, early: np.ndarray, late: np.ndarray) -> _Test | None:
    """None where the early part alone is too thin."""
    last = late[-max(1, int(LATE * len(late))) :]
    middle = np.array([int(np.median(last))])
    try:
        part = _Part.of(basis, loss_K, int(early[-1]) + 1, middle)
    except ValueError:
        return None
    return _Test(part, float(np.mean(loss_K[last])), len(last))
