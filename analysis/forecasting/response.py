"""What a loss is made of under a known schedule, with all shapes on a grid: `Basis`.

    L(t) = E + A·(x(t)^(−α) − 1) − B·gain(t),    gain(t) = Σ_k (u_{k−1}^κ − u_k^κ)·[1 − (1 + S_k(t)/(τ·u_k^γ))^(−β)]

x is the area under the rate as a share of the area at the horizon, u the rate as a share of its peak, S_k the share of the area
since drop k: the multi-power law of arXiv 2503.12811 free of every unit, but for κ **(ours)**. There κ is 1: every drop brings
the same. In the archive the whole gain of a run grows only with about the cube root of its peak rate, so the last part of a fall
brings more than the first. Given the shapes (α, τ, β, κ) the law is linear in E, A and B, so a grid takes the place of a search.
Shapes: R rows of a run up to its horizon, G shapes.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from trajlab.analysis.curve_laws.curves import Curve
from trajlab.analysis.curve_laws.lr_path import lr_path
from trajlab.analysis.forecasting.schedule import warmed_up

ALPHAS = (0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 1.0, 1.3)
"""In sight when chosen: fits of 188 published runs (9 models), whose best exponents lie from 0.25 to 0.8."""
GAMMA = 1.0
"""Weight of the rate in the time that a drop takes to work. In sight when chosen: the same runs; 0.5 and 1 differ little."""
RESPONSES = tuple(product((0.003, 0.01, 0.03), (0.6, 1.0), (0.4, 0.7)))
"""(τ, β, κ). In sight when chosen: the same runs, each family forecast from the others. With κ = 1 the end of a cooldown was
forecast 0.016 nats too high with a fifth of the run to go; with κ under 0.4 too low. τ = 0.1 did worse everywhere."""
SHAPES = tuple(product(ALPHAS, range(len(RESPONSES))))
"""(α, which response) of each shape of the grid."""
COLUMNS_OF = np.array([(0, 1 + ALPHAS.index(alpha), 1 + len(ALPHAS) + r) for alpha, r in SHAPES])
"""Which of `Basis.columns` are those of E, A and B, for each shape (G × 3)."""
ALL_RISING = 8
"""Losses that are forecast from even if all of them lie in the warm-up **(ours)**: fewer than three after it are no evidence."""
LOWEST_RATE = 1e-3
"""Share of the peak as which a lower rate counts in u^γ: the response has no value at 0."""


@dataclass(frozen=True)
class Basis:
    """The parts of the law at each row of one run."""

    share_R: np.ndarray
    """x: the area under the rate as a share of that at the last row; steps as a share of the last where no rate is known."""
    gains: tuple[np.ndarray, ...]
    """The gain at each row, for each of `RESPONSES`."""
    first: int
    """The first row after the warm-up."""
    peak: float | None
    """The highest rate; None where the rate isn't known."""

    @classmethod
    def of(cls, step_R: np.ndarray, lr_R: np.ndarray | None, seen: int | None = None) -> "Basis":
        """For rows in the order of their steps, the last of which is the horizon.

        Where so many rows are ``seen`` and the rate still rises, the losses of the rise count: there are no others.
        """
        if lr_R is None:
            share_R = step_R / step_R[-1]
            return cls(share_R, (np.zeros_like(share_R),) * len(RESPONSES), 0, None)
        path = lr_path(Curve("run", step_R, np.full_like(step_R, np.nan), lr_R))
        peak = float(lr_R.max())
        first = warmed_up(lr_R)
        if seen is not None and seen >= ALL_RISING and seen - first < 3:
            first = 0
        after_D = path.step_before_D >= step_R[first]
        area_R, drop_D = path.area_R / path.area_R[-1], path.drop_D[after_D] / peak
        rate_D = np.maximum(path.lr_D[after_D] / peak, LOWEST_RATE)
        since_RD = np.maximum(area_R[:, None] - path.area_before_D[after_D] / path.area_R[-1], 0)
        above_D, below_D = rate_D + np.abs(drop_D) / 2, np.maximum(rate_D - np.abs(drop_D) / 2, 0)
        drop_of = {kappa: np.sign(drop_D) * (above_D**kappa - below_D**kappa) for _, _, kappa in RESPONSES}
        log_of = {tau: np.log1p(since_RD * (rate_D**-GAMMA / tau)) for tau, _, _ in RESPONSES}
        gains = [-np.expm1(-beta * log_of[tau]) @ drop_of[kappa] for tau, beta, kappa in RESPONSES]
        return cls(area_R, tuple(gains), first, peak)

    def columns(self) -> np.ndarray:
        """All columns that a shape may have: 1, x^(−α) − 1 for each α, −gain for each response (R × C)."""
        x_R = np.maximum(self.share_R, 1e-9)
        powers = [x_R**-alpha - 1 for alpha in ALPHAS]
        return np.column_stack([np.ones_like(x_R), *powers, *(-gain_R for gain_R in self.gains)])
