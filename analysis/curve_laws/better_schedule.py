"""A schedule with a lower predicted final loss: `better_schedule`.

Under a fitted multi-power law the final loss is a smooth function of the learning rate at each step, so it can be minimised
over whole schedules (arXiv 2503.12811 §5). What comes out resembles warm-up, stable, decay. Shapes: R rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from trajlab.analysis.curve_laws.curves import Curve
from trajlab.analysis.curve_laws.lr_path import step_length
from trajlab.analysis.curve_laws.schedule_laws import MultiPowerLaw


@dataclass(frozen=True)
class BetterSchedule:
    """A schedule found by search, and what it was compared with."""

    step_R: np.ndarray
    lr_R: np.ndarray
    """The rate at these steps; linear in between."""
    usual: dict[str, np.ndarray]
    """The schedules that the search began with, by name: rates at the same steps."""
    compared: pd.DataFrame
    """schedule, final_loss: this one (``found``) and the usual ones, lowest first."""

    @property
    def final_loss(self) -> float:
        """Predicted loss after the last step, nats."""
        return float(self.compared.set_index("schedule").loc["found", "final_loss"])

    def lr(self, step: ArrayLike) -> np.ndarray:
        """The rate at any steps."""
        return np.asarray(np.interp(np.asarray(step, float), self.step_R, self.lr_R))

    def table(self) -> pd.DataFrame:
        """step, lr."""
        return pd.DataFrame({"step": self.step_R, "lr": self.lr_R})


def usual_schedules(step_R: np.ndarray, peak: float, floor: float, decay: float = 0.2) -> dict[str, np.ndarray]:
    """Cosine, linear, and stable with an exponential or linear decay over the last part ``decay``."""
    part_R = (step_R - step_R[0]) / (step_R[-1] - step_R[0])
    late_R = np.clip((part_R - (1 - decay)) / decay, 0, 1)
    return {
        "cosine": floor + (peak - floor) * (1 + np.cos(np.pi * part_R)) / 2,
        "linear": peak + (floor - peak) * part_R,
        "stable, exponential decay": peak * (floor / peak) ** late_R,
        "stable, linear decay": peak + (floor - peak) * late_R,
    }


def better_schedule(
    law: MultiPowerLaw, first_step: float, last_step: float, peak: float, floor: float | None = None, rows: int = 161
) -> BetterSchedule:
    """The non-increasing schedule from ``peak`` whose final loss ``law`` predicts to be lowest.

    The warm-up ends at ``first_step``. ``floor`` is the lowest rate allowed, a tenth of the peak by default: set it to the lowest
    rate among the fitted curves, since below it the law extrapolates. Searched from each of the usual schedules with exact
    gradients. Raises ValueError unless 0 < floor < peak and first_step < last_step.
    """
    floor = peak / 10 if floor is None else floor
    if not (0 < floor < peak and first_step < last_step):
        raise ValueError(f"floor, peak: need 0 < {floor:g} < {peak:g}; steps: need {first_step:g} < {last_step:g}")
    step_R = np.linspace(first_step, last_step, rows)
    loss_and_gradient = final_loss(law, step_R, peak)
    starts = usual_schedules(step_R, peak, floor)
    found = [_descend(loss_and_gradient, lr_R, peak, floor) for lr_R in starts.values()]
    best_R = min(found, key=lambda lr_R: loss_and_gradient(lr_R)[0])
    losses = {name: loss_and_gradient(lr_R)[0] for name, lr_R in {"found": best_R, **starts}.items()}
    compared = pd.DataFrame({"schedule": list(losses), "final_loss": list(losses.values())})
    return BetterSchedule(step_R, best_R, starts, compared.sort_values("final_loss", ignore_index=True))


def final_loss(law: MultiPowerLaw, step_R: np.ndarray, peak: float) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The predicted loss at the last of ``step_R`` (equally spaced) and its gradient, as a function of the rates there.

    Areas and drops are linear in the rates, with the coefficients of `lr_path`; the first rate is ``peak``, reached by
    the law's warm-up.
    """
    p = law.params
    one = step_length(step_R) if law.one_step is None else law.one_step
    warmup = law.path(Curve("warm-up", step_R[:1], np.ones(1), np.array([peak])))
    rows, gap = len(step_R), (step_R[-1] - step_R[0]) / (len(step_R) - 1)
    now, after = np.eye(rows)[:-1], np.eye(rows)[1:]
    drop_DR = now - after
    lr_DR = now - drop_DR * (gap + one) / (2 * gap)
    gains_DR = (gap - one) / 2 * now + (gap + one) / 2 * after  # of area, over each gap
    area_RR = np.vstack([np.zeros(rows), np.cumsum(gains_DR, axis=0)])
    before_DR = area_RR[:-1] + (gap - one) / 2 * now - drop_DR * (gap**2 - one**2) / (6 * gap)
    since_DR = area_RR[-1] - before_DR

    def loss(lr_R: np.ndarray) -> tuple[float, np.ndarray]:
        area = float(warmup.area_R[-1] + area_RR[-1] @ lr_R)
        early_D = np.maximum(area - warmup.area_before_D, 0)
        kernel_W, slope_W = _kernel(p, early_D * warmup.lr_D ** -p["gamma"])
        lr_D, drop_D, since_D = lr_DR @ lr_R, drop_DR @ lr_R, since_DR @ lr_R
        weight_D = lr_D ** -p["gamma"]
        kernel_D, slope_D = _kernel(p, since_D * weight_D)
        value = p["L0"] + p["A"] * area ** -p["alpha"] - p["B"] * float(drop_D @ kernel_D + warmup.drop_D @ kernel_W)
        by_area = -p["alpha"] * p["A"] * area ** (-p["alpha"] - 1)
        by_area -= p["B"] * float((warmup.drop_D * slope_W) @ warmup.lr_D ** -p["gamma"])
        through_x_D = drop_D * slope_D * weight_D
        gain_R = kernel_D @ drop_DR + through_x_D @ since_DR - (through_x_D * since_D / lr_D * p["gamma"]) @ lr_DR
        return value, by_area * area_RR[-1] - p["B"] * gain_R

    return loss


def _kernel(p: Mapping[str, float], x_D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """G(x) = 1 − (C·x + 1)^(−β) and its derivative."""
    rest_D = (p["C"] * x_D + 1) ** -p["beta"]
    return 1 - rest_D, p["beta"] * p["C"] * rest_D / (p["C"] * x_D + 1)


def _descend(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], start_R: np.ndarray, peak: float, floor: float
) -> np.ndarray:
    """L-BFGS-B over falls u ≥ 0 of the log of the rate's distance to the floor; the first rate stays at the peak."""
    tiny = 1e-6  # the floor itself is an infinite fall
    height_R = np.clip((start_R - floor) / (peak - floor), tiny, 1)
    start = np.maximum(-np.diff(np.log(height_R)), 1e-4)

    def objective(fall: np.ndarray) -> tuple[float, np.ndarray]:
        above_R = (peak - floor) * np.exp(-np.concatenate([[0.0], np.cumsum(fall)]))
        value, gradient_R = loss(floor + above_R)
        tail = np.cumsum((gradient_R * above_R)[::-1])[::-1]
        return 1e3 * value, -1e3 * tail[1:]

    box = [(0.0, 20.0)] * len(start)
    fall = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=box, options={"maxiter": 1000, "maxfun": 4000}
    ).x
    return floor + (peak - floor) * np.exp(-np.concatenate([[0.0], np.cumsum(fall)]))
