"""What archived curves of other families say before a run has shown it: `Prior` (empirical Bayes), built by `build_prior`.

How much a loss gains when the rate falls to zero can't be seen before it falls, but it is much the same in runs of other models:
0.12 to 0.36 nats in the archive, growing with the peak rate. The prior is a table of numbers, one row per shape of the law.
Shapes: G shapes, C curves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trajlab.analysis.forecasting.gaussian import Points, regress
from trajlab.analysis.forecasting.response import RESPONSES, SHAPES, Basis

SHIPPED = Path(__file__).parent / "prior.csv"
"""Built from 188 published runs of 9 models: `lr_schedules` (8) and the multi-power law's curves (2), see docs/forecasting.md."""
POOL = 10.0
"""How many curves' worth of evidence the archive's mean log evidence of a shape counts as **(ours)**.

In sight when chosen: the published runs; 6 to 25 changed the median error by less than 0.005 nats."""
SLOPE, SLOPE_WEIGHT = 0.3, 0.02
"""Growth of ln B with ln peak rate that few families are drawn to, and its weight against theirs."""
RATES = (1e-4, 5e-3)
"""Peak rates of the archive: rates beyond are taken as these."""


@dataclass(frozen=True)
class Prior:
    """Means and spreads of A and B, and the weight of each shape."""

    table: pd.DataFrame
    """shape: alpha, tau, beta, kappa, log_weight, a_mean, a_sd, b_log (at peak rate 1e-3), b_slope, b_log_sd."""

    @classmethod
    def shipped(cls) -> "Prior":
        """The table that comes with trajlab."""
        return cls.read(SHIPPED)

    @classmethod
    def read(cls, path: Path) -> "Prior":
        """A table written by `Prior.write`. Raises ValueError where it is for another grid of shapes."""
        table = pd.read_csv(path)
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

    @property
    def log_weight_G(self) -> np.ndarray:
        """Of each shape."""
        return self.table["log_weight"].to_numpy(float)

    def coefficients(self, peak: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Means and spreads of E (about the last loss), A and B for a run with this peak rate (G × 3, twice)."""
        t = self.table
        log_rate = 0.0 if peak is None else float(np.log(np.clip(peak, *RATES) / 1e-3))
        b_G = np.exp(t["b_log"] + t["b_slope"] * log_rate)
        ones_G = np.ones(len(t))
        mean_G3 = np.column_stack([0 * ones_G, t["a_mean"], b_G if peak is not None else 0 * b_G])
        sd_G3 = np.column_stack([3 * ones_G, t["a_sd"], b_G * t["b_log_sd"]])
        return mean_G3, sd_G3


@dataclass(frozen=True)
class ArchivedFit:
    """One complete curve's coefficients for each shape, under a vague prior."""

    family: str
    peak: float
    fall: float
    """How far the rate falls, as a share of its peak."""
    evidence_G: np.ndarray
    coefficients_G3: np.ndarray


def fit_archived(family: str, step_R: np.ndarray, loss_R: np.ndarray, lr_R: np.ndarray) -> ArchivedFit:
    """Fit one complete curve on every shape. Raises ValueError where it has fewer than 3 usable losses."""
    basis = Basis.of(step_R, lr_R)
    mean_G3, sd_G3 = np.tile([0.0, 0.3, 0.25], (len(SHAPES), 1)), np.tile([3.0, 1.0, 0.5], (len(SHAPES), 1))
    found = regress(basis, Points.of(basis, loss_R, len(loss_R)), np.arange(0), mean_G3, sd_G3)
    fall = float(1 - lr_R[basis.first :].min() / lr_R.max())
    return ArchivedFit(family, float(lr_R.max()), fall, found.evidence_G, found.coefficients_G3)


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
    """Mean and spread of A, and the line of ln B over the logarithm of the peak rate, for one shape."""
    alpha, response = SHAPES[g]
    weight_C = weight_C / weight_C.sum()
    a_C = np.array([f.coefficients_G3[g, 1] for f in fits])
    b_C = np.array([f.coefficients_G3[g, 2] for f in fits])
    a_mean = float(weight_C @ a_C)
    falls_C = np.array([f.fall > 0.5 for f in fits]) & (b_C > 0.02)
    row = dict(zip(("tau", "beta", "kappa"), RESPONSES[response], strict=True))
    row = {"alpha": alpha, **row, "a_mean": a_mean, "a_sd": 1.5 * float(np.sqrt(weight_C @ (a_C - a_mean) ** 2)) + 0.03}
    if not falls_C.any():
        return {**row, "b_log": float(np.log(0.25)), "b_slope": SLOPE, "b_log_sd": 1.0}
    share_C = family_weights([f.family for f, use in zip(fits, falls_C, strict=True) if use])
    log_b, log_rate = np.log(b_C[falls_C]), np.log(np.clip([f.peak for f in fits], *RATES) / 1e-3)[falls_C]
    line = np.column_stack([np.ones_like(log_rate), log_rate])
    pull = np.diag([0.0, SLOPE_WEIGHT])
    normal = line.T @ (share_C[:, None] * line) + pull
    level, slope = np.linalg.solve(normal, line.T @ (share_C * log_b) + pull @ [0, SLOPE])
    spread = float(np.sqrt(share_C @ (log_b - line @ [level, slope]) ** 2))
    return {**row, "b_log": float(level), "b_slope": float(slope), "b_log_sd": 1.2 * spread + 0.05}
