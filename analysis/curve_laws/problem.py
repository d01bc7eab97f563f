"""Fitting one law to one set of curves: `Problem`, and the `Evidence` that a fit leaves.

Minimised is Huber's loss of ln prediction + u_run − ln loss. The u are chance differences between whole runs (seeds), small and
drawn to zero; without them a run that lies 0.1 % above the others bends the law.

The residuals of a law fitted to curves are its misfit more than noise: smooth, hundreds of steps long. Taken for independent
they would pin shapes that the curves hardly determine, and the law then predicts other schedules badly. So a shape that a law
gives an expected value is drawn to it by a prior, the more the longer the residuals are correlated (`Problem.misfit`). Where
they are white or zero the law is right, and the data decide alone.

Shapes: R rows of all curves one after the other, Q coordinates, U runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trajlab.analysis.curve_laws.curves import Curve
from trajlab.analysis.curve_laws.robust_fit import Minimum, Objective, huber, minimise

if TYPE_CHECKING:
    from trajlab.analysis.curve_laws.law import Law

Array = NDArray[np.float64]

SMALLEST_LOSS = 1e-9
"""Predictions below this, in nats, enter the log as this; a start may be that bad, a fit is not."""

LARGEST_OFFSET = 0.5
"""Bound on a run's chance difference, in log loss."""


@dataclass(frozen=True)
class Evidence:
    """What a fit used and where it ended."""

    points: int
    curves: int
    huber: float
    """Mean Huber loss of the log residuals."""
    correlation_time: float
    """Neighbouring points that together tell as much as one would alone."""
    converged: bool
    at_bounds: tuple[str, ...]
    """Parameters that ended at a bound of the search: the curves do not determine them."""
    run_offsets: dict[str, float]
    """Chance differences of whole runs in log loss, by curve."""


class Problem:
    """Scaled inputs, starts and objective of one fit. The bootstrap solves it again for other losses."""

    def __init__(self, law: "Law", curves: Sequence[Curve]) -> None:
        if law.needs_lr and any(c.lr_R is None for c in curves):
            raise ValueError(f"{law.name} law: the curves need a column lr, the learning rate at each step")
        self.law, self.names = law, [c.name for c in curves]
        rows = [law._measured(c) for c in curves]
        self.run_R = np.repeat(np.arange(len(curves)), [int(r.sum()) for r in rows])
        self.loss_R = np.concatenate([c.loss_R[r] for c, r in zip(curves, rows, strict=True)])
        if len(self.loss_R) <= len(law.parameters):
            raise ValueError(
                f"{law.name} law: {len(self.loss_R)} points can't determine {len(law.parameters)} parameters"
            )
        self.inputs, self.units = law._scaled(law._inputs(curves, rows))
        self.runs = len(curves) if len(curves) > 1 and law.run_sd > 0 else 0
        limits = [(p.coordinate(p.low), p.coordinate(p.high)) for p in law.parameters]
        limits += [(-LARGEST_OFFSET, LARGEST_OFFSET)] * self.runs
        self.bounds = np.array([a for a, _ in limits]), np.array([b for _, b in limits])
        centres = [0.0 if p.expected is None else p.coordinate(p.expected) for p in law.parameters]
        self.prior_centre = np.array(centres + [0.0] * self.runs)
        spreads = [0.0 if p.expected is None else (law.prior_sd or 0.0) * p.vagueness for p in law.parameters]
        self.prior_sd = np.array(spreads + [law.run_sd] * self.runs)
        """Spread of each coordinate about its centre; 0 for those without a prior."""
        self.prior_weight = 0.0
        """What the squared distance from an expected shape is weighed with, before its variance; set by `solve`."""

    def solve(self) -> Minimum:
        """Descend from the best start points; where the law has expected shapes, again with the prior that this weighs."""
        starts = self._starts()
        plain = minimise(self.objective(self.loss_R), starts)
        expected = [p for p in self.law.parameters if p.expected is not None]
        if not expected or self.law.prior_sd is None:
            return plain
        self.prior_weight = self.misfit(plain)
        return minimise(self.objective(self.loss_R), [plain.theta_Q, *starts[:3]])

    def misfit(self, minimum: Minimum) -> float:
        """Squared error that a law makes beyond noise, in log loss, times the points over which it persists.

        Its size is ``delta``, which is what Huber's loss takes an ordinary error to be: the residuals themselves are too
        small to tell, since errors on schedules that a law has not seen are about ten times those on schedules that it was
        fitted to. So it is never more than ten times them.
        """
        variance, time = self._noise(minimum)
        return min(self.law.delta**2, 100 * variance) * (time - 1)

    def objective(self, loss_R: Array, centre_Q: Array | None = None) -> Objective:
        """The objective for these losses in place of the measured ones, and for these prior centres (coordinates)."""
        centre_Q = self.prior_centre if centre_Q is None else centre_Q
        log_loss_R = np.log(loss_R)
        n_params = len(self.law.parameters)

        def residuals(theta_Q: Array) -> tuple[Array, Array]:
            values_Q, slope_Q = self.values(theta_Q)
            value_R, gradient_RQ = self.law._value_and_gradient(values_Q, self.inputs)
            value_R = np.maximum(value_R, SMALLEST_LOSS)
            log_R, jacobian_RQ = np.log(value_R) - log_loss_R, gradient_RQ * slope_Q / value_R[:, None]
            if self.runs:
                log_R = log_R + theta_Q[n_params:][self.run_R]
                jacobian_RQ = np.hstack([jacobian_RQ, np.eye(self.runs)[self.run_R]])
            prior_P, prior_PQ = self._priors(theta_Q - centre_Q)
            return np.concatenate([log_R, prior_P]), np.vstack([jacobian_RQ, prior_PQ])

        return Objective(residuals, self.bounds, self.law.delta, len(self._priors(self.bounds[0])[0]))

    def values(self, theta_Q: Array) -> tuple[Array, Array]:
        """Coordinates to parameters for scaled inputs, and the derivative of each by its coordinate."""
        pairs = [p.value(float(t)) for p, t in zip(self.law.parameters, theta_Q, strict=False)]
        return np.array([v for v, _ in pairs]), np.array([d for _, d in pairs])

    def natural(self, theta_Q: Array) -> Array:
        """Coordinates to the law's parameters."""
        return self.law._natural(self.values(theta_Q)[0], self.units)

    def log_residuals(self, minimum: Minimum) -> Array:
        """ln loss − ln prediction − u, by row."""
        return -self.objective(self.loss_R).residuals(minimum.theta_Q)[0][: len(self.loss_R)]

    def evidence(self, minimum: Minimum) -> Evidence:
        """What is known about a minimum."""
        near_Q = np.minimum(minimum.theta_Q - self.bounds[0], self.bounds[1] - minimum.theta_Q) < 1e-3
        names = tuple(p.name for p, near in zip(self.law.parameters, near_Q, strict=False) if near)
        residual_R = self.log_residuals(minimum)
        offsets = minimum.theta_Q[len(self.law.parameters) :] if self.runs else np.zeros(len(self.names))
        return Evidence(
            points=len(residual_R),
            curves=len(self.names),
            huber=huber(residual_R, self.law.delta)[0] / len(residual_R),
            correlation_time=self._noise(minimum)[1],
            converged=minimum.converged,
            at_bounds=names,
            run_offsets=dict(zip(self.names, map(float, offsets), strict=True)),
        )

    def _noise(self, minimum: Minimum) -> tuple[float, float]:
        """Robust variance of the log residuals and the time (in points) over which they are correlated."""
        residual_R = self.log_residuals(minimum)
        variance = 2 * huber(residual_R, self.law.delta)[0] / len(residual_R)
        same_run = self.run_R[1:] == self.run_R[:-1]
        total = float(residual_R @ residual_R)
        rho = float((residual_R[1:] * residual_R[:-1])[same_run].sum()) / total if total > 0 else 0.0
        rho = min(max(rho, 0.0), 0.99)
        return variance, (1 + rho) / (1 - rho)

    def _priors(self, away_Q: Array) -> tuple[Array, Array]:
        """Penalty residuals, of coordinates so far from their centres, and their Jacobian."""
        weight_Q = np.full(len(away_Q), np.sqrt(self.prior_weight))
        weight_Q[len(self.law.parameters) :] = self.law.delta  # an offset of run_sd costs what an error of delta does
        chosen = (self.prior_sd > 0) & (weight_Q > 0)
        pull_P = weight_Q[chosen] / self.prior_sd[chosen]
        return pull_P * away_Q[chosen], np.diag(pull_P) @ np.eye(len(away_Q))[chosen]

    def _starts(self) -> list[Array]:
        residuals = self.objective(self.loss_R).residuals
        starts = [self._inside(values_Q) for values_Q in self.law._start_values(self.inputs, self.loss_R)]
        starts.sort(key=lambda t: float(np.abs(residuals(t)[0]).sum()))
        return starts[: self.law.starts]

    def _inside(self, values_Q: Array) -> Array:
        pairs = zip(self.law.parameters, values_Q, strict=True)
        inside = [p.coordinate(float(np.clip(v, p.low, p.high))) for p, v in pairs]
        return np.array(inside + [0.0] * self.runs)
