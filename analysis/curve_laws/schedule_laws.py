"""Laws that know the learning rate: `AnnealingLaw` and `MultiPowerLaw`.

Both are a power of the area under the rate, S1, less what the drops of the rate have brought so far:

    L(t) = L0 + A·S1(t)^(−α) − gain(t),    gain(t) = Σ_k (η_{k−1} − η_k) · response of drop k at t

Shapes: R rows, D drops of one run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import product
from typing import NamedTuple, Self

import numpy as np
from scipy.optimize import nnls

from trajlab.analysis.curve_laws.curves import Curve
from trajlab.analysis.curve_laws.form import Parameter
from trajlab.analysis.curve_laws.law import Law
from trajlab.analysis.curve_laws.lr_path import LrPath, lr_path, step_length

ROWS_AT_ONCE = 2048
"""Rows × drops are held in memory for a prediction; at 512 drops this is 8 MB an array."""


class Units(NamedTuple):
    """What inputs are divided by before a fit."""

    area: float
    lr: float
    step: float


@dataclass(frozen=True, eq=False, repr=False)
class ScheduleLaw(Law[list[LrPath], Units]):
    """A law of the area under the learning rate and its drops."""

    needs_lr = True

    _: KW_ONLY
    warmup_area: float | None = None
    """S_W, Σ η over the warm-up, for curves whose rows begin after it (see `lr_path`)."""
    one_step: float | None = None
    """Length of an optimizer step in the unit of column ``step``; None: see `step_length`. A fit fills it in."""

    def prepared(self, curves: list[Curve]) -> Self:
        """This law with the length of a step that the curves tell, so that it predicts as it was fitted."""
        if self.one_step is not None:
            return self
        return replace(self, one_step=step_length(np.concatenate([c.step_R for c in curves])))

    def path(self, curve: Curve) -> LrPath:
        """What this law sees of a run's schedule."""
        return lr_path(curve, self.warmup_area, one_step=self.one_step)

    def measured(self, curve: Curve) -> np.ndarray:
        """Rows with a loss after the warm-up, but for an area of 0 (step 0), at which the law has no value."""
        path = self.path(curve)
        after_warmup_R = np.arange(len(curve.step_R)) >= path.peak
        return super().measured(curve) & after_warmup_R & (path.area_R > 0)

    def inputs(self, curves: Sequence[Curve], rows: Sequence[np.ndarray]) -> list[LrPath]:
        """One path of the rate for each curve."""
        return [self.path(c).at(r) for c, r in zip(curves, rows, strict=True)]

    def scaled(self, inputs: list[LrPath]) -> tuple[list[LrPath], Units]:
        """Areas in units of their geometric mean, rates of the highest one. ValueError where no rate falls."""
        if not any((path.drop_D > 0).any() for path in inputs):
            raise ValueError(
                f"{self.name} law: the learning rate is constant in all curves, which leaves the effect of its decay "
                "undetermined; add a curve with decay or use PowerLaw"
            )
        area_R = np.concatenate([p.area_R for p in inputs])
        lr = max(path.top for path in inputs)
        area = float(np.exp(np.log(area_R).mean()))
        units = Units(area, lr, area / lr)
        return [p.scaled(*units) for p in inputs], units


@dataclass(frozen=True, eq=False, repr=False)
class MultiPowerLaw(ScheduleLaw):
    """L(t) = L0 + A·S1(t)^(−α) − B·Σ_k (η_{k−1} − η_k)·G(η_k^(−γ)·S_k(t)),  G(x) = 1 − (C·x + 1)^(−β).

    Multi-power law of arXiv 2503.12811: S1 is the area under the rate (warm-up included), S_k the area since drop k.
    Fitted on a few schedules it predicts the loss of others. Parameters: L0, A, alpha, B, C, beta, gamma. The published ones
    hold with ``count_warmup``; without it the sum over k begins after the warm-up, which changes little but L0.

    Shapes β and γ are drawn to 1 (a drop's effect is complete but for 1/S) and ½ (rate and area weigh alike) as far as
    the curves misfit the law: their best fit may predict other schedules worse (docs/curve_laws.md).
    """

    name = "multi-power"
    costly = True
    parameters = (
        Parameter("L0", 0, 1e2, linear=True),
        Parameter("A", 1e-6, 1e3),
        Parameter("alpha", 1e-2, 5),
        Parameter("B", 1e-6, 1e3),
        Parameter("C", 1e-4, 1e5, expected=50.0, vagueness=10.0),
        Parameter("beta", 1e-2, 10, expected=1.0),
        Parameter("gamma", 1e-3, 3, expected=0.5),
    )

    _: KW_ONLY
    count_warmup: bool = True
    """Whether the rise of the rate in the warm-up counts among its changes."""

    def path(self, curve: Curve) -> LrPath:
        """What this law sees of a run's schedule."""
        return lr_path(curve, self.warmup_area, self.count_warmup, self.one_step)

    def natural(self, values_Q: np.ndarray, units: Units) -> np.ndarray:
        """Undo the scaling."""
        l0, a, alpha, b, c, beta, gamma = values_Q
        scaled_c = c * units.lr**gamma / units.area
        return np.array([l0, a * units.area**alpha, alpha, b / units.lr, scaled_c, beta, gamma])

    def start_values(self, inputs: list[LrPath], loss_R: np.ndarray) -> list[np.ndarray]:
        """A grid of shapes, the linear parameters solved for at each."""
        grid = product((0.3, 0.6, 1.0), (0.5, 5.0, 50.0), (0.2, 0.5, 1.0), (0.2, 0.6, 1.0))
        shapes = (np.array([alpha, 1.0, c, beta, gamma]) for alpha, c, beta, gamma in grid)
        return list(self._with_linear_part(inputs, loss_R, shapes))

    def _with_linear_part(
        self, inputs: list[LrPath], loss_R: np.ndarray, shapes: Iterator[np.ndarray]
    ) -> Iterator[np.ndarray]:
        area_R = np.concatenate([p.area_R for p in inputs])
        for shape in shapes:
            gain_R = np.concatenate([self._gain(p, shape[1:]) for p in inputs])
            l0, a, b = nnls(np.column_stack([np.ones_like(area_R), area_R ** -shape[0], -gain_R]), loss_R)[0]
            yield np.array([l0, a, shape[0], b, *shape[2:]])

    def form(self, values_Q: np.ndarray, inputs: list[LrPath]) -> np.ndarray:
        """The loss in blocks of rows, which keeps a long prediction small in memory."""
        l0, a, alpha = values_Q[:3]
        parts = [l0 + a * p.area_R**-alpha - self._gain(p, values_Q[3:]) for p in inputs]
        return np.concatenate(parts)

    @staticmethod
    def _gain(path: LrPath, values: np.ndarray) -> np.ndarray:
        b, c, beta, gamma = values
        gain_R = np.zeros_like(path.area_R)
        for rows in _blocks(len(gain_R)):
            since_RD = np.maximum(path.area_R[rows, None] - path.area_before_D, 0)
            gain_R[rows] = -np.expm1(-beta * np.log1p(since_RD * (c * path.lr_D**-gamma))) @ path.drop_D
        return b * gain_R

    def form_and_gradient(self, values_Q: np.ndarray, inputs: list[LrPath]) -> tuple[np.ndarray, np.ndarray]:
        """The loss and its derivatives, by the chain rule."""
        parts = [self._one_run(values_Q, path) for path in inputs]
        return np.concatenate([v for v, _ in parts]), np.concatenate([g for _, g in parts])

    @staticmethod
    def _one_run(values_Q: np.ndarray, path: LrPath) -> tuple[np.ndarray, np.ndarray]:
        l0, a, alpha, b, c, beta, gamma = values_Q
        power_R = path.area_R**-alpha
        x_RD = np.maximum(path.area_R[:, None] - path.area_before_D, 0) * path.lr_D**-gamma
        log_RD = np.log1p(c * x_RD)
        rest_RD = np.exp(-beta * log_RD)  # (C·x + 1)^(−β)
        slope_RD = beta * rest_RD * x_RD / (1 + c * x_RD)  # dG/dC; dG/dγ is −C·ln η_k times it
        gain_R = (1 - rest_RD) @ path.drop_D
        gradient_RQ = np.column_stack(
            [
                np.ones_like(power_R),
                power_R,
                -a * power_R * np.log(path.area_R),
                -gain_R,
                -b * (slope_RD @ path.drop_D),
                -b * ((rest_RD * log_RD) @ path.drop_D),
                b * c * (slope_RD @ (np.log(path.lr_D) * path.drop_D)),
            ]
        )
        return l0 + a * power_R - b * gain_R, gradient_RQ


class AnnealingLaw(ScheduleLaw):
    """L(t) = L0 + A·S1(t)^(−α) − C·S2(t),  S2(t) = Σ_{i≤t} Σ_{k≤i} (η_{k−1} − η_k)·λ^(i−k).

    Scaling law with learning-rate annealing of arXiv 2408.11029. The inner sum over i is geometric: drop k has brought
    (1 − λ^(t−k+1))/(1 − λ) by step t. Parameters: L0, A, alpha, C and tau, the memory in steps: λ = exp(−1/τ), about
    1 − 1/τ. It is fitted; the paper fixes λ = 0.999.
    """

    name = "annealing"
    parameters = (
        Parameter("L0", 0, 1e2, linear=True),
        Parameter("A", 1e-6, 1e3),
        Parameter("alpha", 1e-2, 5),
        Parameter("C", 1e-6, 1e6),
        Parameter("tau", 1e-6, 1e3),
    )

    def natural(self, values_Q: np.ndarray, units: Units) -> np.ndarray:
        """Undo the scaling."""
        l0, a, alpha, c, tau = values_Q
        return np.array([l0, a * units.area**alpha, alpha, c / (units.lr * units.step), tau * units.step])

    def start_values(self, inputs: list[LrPath], loss_R: np.ndarray) -> list[np.ndarray]:
        """A grid of shapes, the linear parameters solved for at each."""
        area_R = np.concatenate([p.area_R for p in inputs])
        starts = []
        for alpha, tau in product((0.2, 0.4, 0.7, 1.0), (0.01, 0.03, 0.1, 0.3, 1.0)):
            gain_R = np.concatenate([_annealing(p, tau)[0] for p in inputs])
            l0, a, c = nnls(np.column_stack([np.ones_like(area_R), area_R**-alpha, -gain_R]), loss_R)[0]
            starts.append(np.array([l0, a, alpha, c, tau]))
        return starts

    def form_and_gradient(self, values_Q: np.ndarray, inputs: list[LrPath]) -> tuple[np.ndarray, np.ndarray]:
        """The loss and its derivatives, by the chain rule."""
        l0, a, alpha, c, tau = values_Q
        area_R = np.concatenate([p.area_R for p in inputs])
        gains = [_annealing(p, tau) for p in inputs]
        gain_R, slope_R = (np.concatenate(part) for part in zip(*gains, strict=True))
        power_R = area_R**-alpha
        gradient_RQ = np.column_stack(
            [np.ones_like(area_R), power_R, -a * power_R * np.log(area_R), -gain_R, -c * slope_R]
        )
        return l0 + a * power_R - c * gain_R, gradient_RQ


def _annealing(path: LrPath, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """S2 at each row, and its derivative by τ. Both count steps in ``path.one_step``."""
    gain_R, slope_R = np.zeros_like(path.step_R), np.zeros_like(path.step_R)
    one = path.one_step
    forget = -np.expm1(-one / tau) / one if one > 0 else 1 / tau  # 1 − λ, by unit of step
    forget_slope = -np.exp(-one / tau) / tau**2
    for rows in _blocks(len(gain_R)):
        steps_RD = np.maximum(path.step_R[rows, None] - path.step_before_D, 0)
        left_RD = np.exp(-steps_RD / tau)
        brought_R = (1 - left_RD) @ path.drop_D
        gain_R[rows] = brought_R / forget
        slope_R[rows] = -(steps_RD * left_RD) @ path.drop_D / (tau**2 * forget) - brought_R * forget_slope / forget**2
    return gain_R, slope_R


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, rows, ROWS_AT_ONCE))
