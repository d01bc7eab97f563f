"""Minimising a Huber loss of residuals with exact Jacobians: L-BFGS from several starts, then Gauss–Newton.

Curve laws are nearly collinear (amplitude against exponent, rate against amplitude), so that a gradient method alone stops in the
valley's wall. The descents here run in coordinates scaled by the Jacobian's columns, and the best ones are polished by
trust-region Gauss–Newton on the same objective.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, minimize


@dataclass(frozen=True)
class Objective:
    """What is minimised: Huber's loss of the first residuals, half the square of the others."""

    residuals: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    """Coordinates (Q) to residuals (R) and their Jacobian (R × Q)."""
    bounds: tuple[np.ndarray, np.ndarray]
    delta: float
    """Where Huber's loss turns linear."""
    priors: int = 0
    """How many residuals at the end are penalties, squared however large."""

    def slope(self, residual_R: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective and its derivative by each residual."""
        data_R, prior_R = np.split(residual_R, [len(residual_R) - self.priors])
        value, slope_R = huber(data_R, self.delta)
        return value + 0.5 * float(prior_R @ prior_R), np.concatenate([slope_R, prior_R])

    def rho(self, z_R: np.ndarray) -> np.ndarray:
        """The same for `scipy.optimize.least_squares`: of z = (residual / delta)², with two derivatives."""
        z_R = np.maximum(z_R, 1e-100)
        linear_R = (z_R > 1) & (np.arange(len(z_R)) < len(z_R) - self.priors)
        root_R = np.sqrt(z_R)
        return np.stack(
            [
                np.where(linear_R, 2 * root_R - 1, z_R),
                np.where(linear_R, 1 / root_R, 1.0),
                np.where(linear_R, -0.5 / (z_R * root_R), 0.0),
            ]
        )


@dataclass(frozen=True)
class Minimum:
    """Where a fit ended."""

    theta_Q: np.ndarray
    cost: float
    """The objective there."""
    converged: bool


def huber(residual_R: np.ndarray, delta: float) -> tuple[float, np.ndarray]:
    """Sum of Huber's loss (r²/2 within ``delta``, linear beyond) and its derivative by each residual."""
    size_R = np.abs(residual_R)
    inside = size_R <= delta
    value = np.where(inside, 0.5 * residual_R**2, delta * (size_R - 0.5 * delta)).sum()
    return float(value), np.where(inside, residual_R, delta * np.sign(residual_R))


def minimise(objective: Objective, starts: list[np.ndarray]) -> Minimum:
    """The lowest minimum reached from ``starts``; the three best descents are polished."""
    inside = [np.clip(s, *objective.bounds) for s in starts]
    descents = sorted((descend(objective, s) for s in inside), key=lambda m: m.cost)
    return min((polish(objective, m.theta_Q) for m in descents[:3]), key=lambda m: m.cost)


def descend(objective: Objective, start_Q: np.ndarray, steps: int = 150) -> Minimum:
    """L-BFGS-B from one start, in coordinates where each Jacobian column has length one there."""
    unit = objective.delta
    length_Q = np.linalg.norm(objective.residuals(start_Q)[1], axis=0)
    scale_Q = 1 / np.where(length_Q > 0, length_Q / unit, 1.0)

    def scaled(z_Q: np.ndarray) -> tuple[float, np.ndarray]:
        residual_R, jacobian_RQ = objective.residuals(start_Q + scale_Q * z_Q)
        value, slope_R = objective.slope(residual_R)
        return value / unit**2, scale_Q * (slope_R @ jacobian_RQ) / unit**2

    box = np.column_stack([(b - start_Q) / scale_Q for b in objective.bounds])
    found = minimize(
        scaled, np.zeros_like(start_Q), jac=True, method="L-BFGS-B", bounds=box, options={"maxiter": steps}
    )
    theta_Q = np.clip(start_Q + scale_Q * found.x, *objective.bounds)
    return Minimum(theta_Q, float(found.fun) * unit**2, bool(found.success))


def polish(objective: Objective, start_Q: np.ndarray, evaluations: int = 300) -> Minimum:
    """Trust-region Gauss–Newton on the same objective; converges along narrow valleys."""
    last: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def both(theta_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = theta_Q.tobytes()
        if key not in last:
            last.clear()
            last[key] = objective.residuals(theta_Q)
        return last[key]

    low_Q, high_Q = objective.bounds
    margin_Q = 1e-9 * np.minimum(high_Q - low_Q, 1.0)  # the solver wants to start strictly inside
    found = least_squares(
        lambda t: both(t)[0],
        np.clip(start_Q, low_Q + margin_Q, high_Q - margin_Q),
        jac=lambda t: both(t)[1],
        bounds=objective.bounds,
        loss=objective.rho,
        f_scale=objective.delta,
        x_scale="jac",
        ftol=1e-12,
        xtol=1e-10,
        gtol=1e-12,
        max_nfev=evaluations,
    )
    return Minimum(found.x, float(found.cost), found.status > 0)
