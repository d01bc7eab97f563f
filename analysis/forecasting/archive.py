"""What archived curves of other families say before a run has shown it: `Prior` (empirical Bayes), built by `build_prior`.

How much a loss gains when the rate falls to zero can't be seen before it falls, but it is much the same in runs of other models:
0.12 to 0.36 nats in the archive. It grows with the peak rate, and at one rate it is larger in a larger model, whose best rate is
lower. A curve doesn't tell its model's size, but its level does, roughly: so the prior's gain falls with the loss at the end. The
prior is a table of numbers, one row per shape of the law.
Shapes: G shapes, C curves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from trajlab.analysis.forecasting.gaussian import TYPICAL, Conditioned, Points
from trajlab.analysis.forecasting.response import RESPONSES, SHAPES, Basis

SHIPPED = Path(__file__).parent / "prior.csv"
"""Built from 206 published runs of 11 models: `lr_schedules` (9) and the multi-power law's curves (2), see docs/forecasting.md."""
POOL = 10.0
"""How many curves' worth of evidence the archive's mean log evidence of a shape counts as **(ours)**.

In sight when chosen: the published runs; 6 to 25 changed the median error by less than 0.005 nats."""
SLOPE, SLOPE_WEIGHT = 0.3, 0.02
"""Growth of ln B with ln peak rate that few families are drawn to, and its weight against theirs."""
RATES = (1e-4, 5e-3)
"""Peak rates of the archive: rates beyond are taken as these."""
LOSSES = (2.8, 3.6)
"""Final losses of the archive, nats per token: those beyond are taken as these."""
LEVEL_WEIGHT = 0.02
"""Weight of ln B not depending on the level, against the families' **(ours)**.

In sight when chosen: the published runs, each family left out; 0.002 to 0.1 differ by 0.002 nats in the median error of a cooldown
ahead at 40 % seen (0.018 to 0.021; 0.024 without the level)."""


COLUMNS = ("alpha", "tau", "beta", "kappa", "a_mean", "a_sd", "b_log", "b_slope", "b_level", "b_log_sd", "log_weight")


@dataclass(frozen=True)
class Prior:
    """Means and spreads of A and B, and the weight of each shape."""

    table: pd.DataFrame
    """shape: alpha, tau, beta, kappa, log_weight, a_mean, a_sd, b_log (at peak rate 1e-3 and `TYPICAL` level), b_slope, b_level, b_log_sd."""

    @classmethod
    def shipped(cls) -> "Prior":
        """The table that comes with trajlab."""
        return cls.read(SHIPPED)

    @classmethod
    def read(cls, path: Path) -> "Prior":
        """A table written by `Prior.write`. Raises ValueError where it is for another grid of shapes."""
        table = pd.read_csv(path)
        if absent := set(COLUMNS) - set(table):
            raise ValueError(f"{path}: no column {min(absent)}; rebuild it (analysis contest CURVES --rebuild)")
        expected = np.array([(alpha, *RESPONSES[r]) for alpha, r in SHAPES])
        given = table[["alpha", "tau", "beta", "kappa"]].to_numpy()
        if given.shape != expected.shape or not np.allclose(given, expected):
            raise ValueError(
                f"{path}: the shapes are not this version's; rebuild it (analysis contest CURVES --rebuild)"
            )
        return cls(table)

    def write(self, path: Path) -> None:
        """As csv, to six digits."""
        self.table.to_csv(path, index=False, float_format="%.6g")

    @cached_property
    def log_weight_G(self) -> np.ndarray:
        """Of each shape."""
        return self.table["log_weight"].to_numpy(float)

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        return {name: self.table[name].to_numpy(float) for name in COLUMNS}

    def coefficients(self, peak: float | None, level: float = TYPICAL) -> tuple[np.ndarray, np.ndarray]:
        """Means and spreads of E (about the last loss), A and B for a run with this peak rate that ends near this loss (G × 3, twice)."""
        t = self._columns
        log_rate = 0.0 if peak is None else _log_rate(peak)
        b_G = np.exp(t["b_log"] + t["b_slope"] * log_rate + t["b_level"] * _above_typical(level))
        ones_G = np.ones_like(b_G)
        mean_G3 = np.column_stack([0 * ones_G, t["a_mean"], b_G if peak is not None else 0 * b_G])
        sd_G3 = np.column_stack([3 * ones_G, t["a_sd"], b_G * t["b_log_sd"]])
        return mean_G3, sd_G3


def _log_rate(peak: float) -> float:
    return float(np.log(np.clip(peak, *RATES) / 1e-3))


def _above_typical(level: float) -> float:
    return float(np.clip(level, *LOSSES)) - TYPICAL


@dataclass(frozen=True)
class ArchivedFit:
    """One complete curve's coefficients for each shape, under a vague prior."""

    family: str
    peak: float
    fall: float
    """How far the rate falls, as a share of its peak."""
    level: float
    """The loss at its end, in the unit of `Points`."""
    evidence_G: np.ndarray
    coefficients_G3: np.ndarray


def fit_archived(family: str, step_R: np.ndarray, loss_R: np.ndarray, lr_R: np.ndarray) -> ArchivedFit:
    """Fit one complete curve on every shape. Raises ValueError where it has fewer than 3 usable losses."""
    basis = Basis.of(step_R, lr_R)
    mean_G3, sd_G3 = np.tile([0.0, 0.3, 0.25], (len(SHAPES), 1)), np.tile([3.0, 1.0, 0.5], (len(SHAPES), 1))
    points = Points.of(basis, loss_R, len(loss_R))
    found = Conditioned.of(basis, points, np.arange(0)).under(mean_G3, sd_G3)
    fall, level = float(1 - lr_R[basis.first :].min() / lr_R.max()), float(points.loss_K[-1])
    return ArchivedFit(family, float(lr_R.max()), fall, level, found.evidence_G, found.coefficients_G3)


def build_prior(fits: Sequence[ArchivedFit], without: str | None = None) -> Prior:
    """The prior from all families but one. Raises ValueError where no curve is left whose rate falls."""
    fits = [f for f in fits if f.family != without]
    if not any(f.fall > 0.5 for f in fits):
        raise ValueError("the archive holds no other family whose learning rate falls; a prior needs one")
    weight_C = family_weights([f.family for f in fits])
    evidence_CG = np.array([f.evidence_G for f in fits])
    evidence_CG = evidence_CG - evidence_CG.max(1, keepdims=True)
    pooled_G = POOL * (weight_C @ np.maximum(evidence_CG, -8))  # one odd curve must not rule a shape out
    share_G = np.exp(pooled_G - pooled_G.max())
    log_weight_G = np.log(0.95 * share_G / share_G.sum() + 0.05 / len(SHAPES))
    rows = [_shape_row(g, fits, weight_C * np.maximum(np.exp(evidence_CG[:, g]), 0.02)) for g in range(len(SHAPES))]
    return Prior(pd.DataFrame(rows).assign(log_weight=log_weight_G))


def family_weights(families: Sequence[str]) -> np.ndarray:
    """Weights of curves that sum to 1, so that a family of many curves hardly outweighs one of few (power 0.3 of its size)."""
    names = pd.Series(list(families))
    weight_C = (1 / names.map(names.value_counts()).to_numpy(float)) ** 0.7
    return weight_C / weight_C.sum()


def _shape_row(g: int, fits: Sequence[ArchivedFit], weight_C: np.ndarray) -> dict[str, float]:
    """Mean and spread of A, and ln B over the logarithm of the peak rate and the level, for one shape."""
    alpha, response = SHAPES[g]
    weight_C = weight_C / weight_C.sum()
    a_C = np.array([f.coefficients_G3[g, 1] for f in fits])
    b_C = np.array([f.coefficients_G3[g, 2] for f in fits])
    a_mean = float(weight_C @ a_C)
    falls_C = np.array([f.fall > 0.5 for f in fits]) & (b_C > 0.02)
    row = dict(zip(("tau", "beta", "kappa"), RESPONSES[response], strict=True))
    row = {"alpha": alpha, **row, "a_mean": a_mean, "a_sd": 1.5 * float(np.sqrt(weight_C @ (a_C - a_mean) ** 2)) + 0.03}
    if not falls_C.any():
        return {**row, "b_log": float(np.log(0.25)), "b_slope": SLOPE, "b_level": 0.0, "b_log_sd": 1.0}
    used = [f for f, use in zip(fits, falls_C, strict=True) if use]
    share_C, log_b = family_weights([f.family for f in used]), np.log(b_C[falls_C])
    plane = np.array([[1.0, _log_rate(f.peak), _above_typical(f.level)] for f in used])
    pull = np.diag([0.0, SLOPE_WEIGHT, LEVEL_WEIGHT])
    normal = plane.T @ (share_C[:, None] * plane) + pull
    line = np.linalg.solve(normal, plane.T @ (share_C * log_b) + pull @ [0, SLOPE, 0])
    spread = float(np.sqrt(share_C @ (log_b - plane @ line) ** 2))
    said = dict(zip(("b_log", "b_slope", "b_level"), map(float, line), strict=True))
    return {**row, **said, "b_log_sd": 1.2 * spread + 0.05}
