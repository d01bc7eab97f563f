"""Fitting one form to one set of curves: `Problem`, and the `Fit` that it ends in.

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
from typing import Any, Generic

import numpy as np

from trajlab.analysis.curve_laws.curves import Curve
from trajlab.analysis.curve_laws.form import Form, U, X
from trajlab.analysis.curve_laws.robust_fit import Minimum, Objective, huber, minimise

SMALLEST_LOSS = 1e-9
"""Predictions below this, in nats, enter the log as this; a start may be that bad, a fit is not."""

LARGEST_OFFSET = 0.5
"""Bound on a run's chance difference, in log loss."""


@dataclass(frozen=True)
class FitSettings:
    """How a form is fitted, whichever it is."""

    delta: float = 1e-3
    """Where Huber's loss turns linear, in log loss."""
    run_sd: float = 1e-3
    """How much whole runs differ by chance, in log loss: fitted beside the law where there are several runs; 0 turns it off."""
    prior_sd: float | None = 0.05
    """Spread of the log of a shape parameter about its ``expected`` value; None for a fit without such a prior."""
    starts: int = 8
    """How many of the best start points are descended from."""


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


class Problem(Generic[X, U]):
    """Scaled inputs, starts and objective of one fit. The bootstrap solves it again for other losses."""

    def __init__(self, form: Form[X, U], curves: Sequence[Curve], settings: FitSettings) -> None:
        if form.needs_lr and any(c.lr_R is None for c in curves):
            raise ValueError(f"{form.name} law: the curves need a column lr, the learning rate at each step")
        self.form, self.settings, self.names = form, settings, [c.name for c in curves]
        rows = [form.measured(c) for c in curves]
        self.run_R = np.repeat(np.arange(len(curves)), [int(r.sum()) for r in rows])
        self.loss_R = np.concatenate([c.loss_R[r] for c, r in zip(curves, rows, strict=True)])
        if len(self.loss_R) <= len(form.parameters):
            raise ValueError(
                f"{form.name} law: {len(self.loss_R)} points can't determine {len(form.parameters)} parameters"
            )
        self.inputs, self.units = form.scaled(form.inputs(curves, rows))
        self.runs = len(curves) if len(curves) > 1 and settings.run_sd > 0 else 0
        """Runs with a chance difference of their own; 0 where there is none."""
        self.bounds, self.prior_centre, self.prior_sd = self._limits()
        self.prior_weight = 0.0
        """What the squared distance from an expected shape is weighed with, before its variance; set by `solve`."""

    def _limits(self) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
        """Bounds of each coordinate, the centre of its prior, and its spread about it (0 for those without a prior)."""
        parameters, settings = self.form.parameters, self.settings
        limits = [(p.coordinate(p.low), p.coordinate(p.high)) for p in parameters]
        limits += [(-LARGEST_OFFSET, LARGEST_OFFSET)] * self.runs
        centres = [0.0 if p.expected is None else p.coordinate(p.expected) for p in parameters]
        spreads = [0.0 if p.expected is None else (settings.prior_sd or 0.0) * p.vagueness for p in parameters]
        bounds = np.array([low for low, _ in limits]), np.array([high for _, high in limits])
        return bounds, np.array(centres + [0.0] * self.runs), np.array(spreads + [settings.run_sd] * self.runs)

    def solve(self) -> Minimum:
        """Descend from the best start points; where the law has expected shapes, again with the prior that this weighs."""
        starts = self._starts()
        plain = minimise(self.objective(self.loss_R), starts)
        expected = [p for p in self.form.parameters if p.expected is not None]
        if not expected or self.settings.prior_sd is None:
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
        return min(self.settings.delta**2, 100 * variance) * (time - 1)

    def objective(self, loss_R: np.ndarray, centre_Q: np.ndarray | None = None) -> Objective:
        """The objective for these losses in place of the measured ones, and for these prior centres (coordinates)."""
        centre_Q = self.prior_centre if centre_Q is None else centre_Q
        log_loss_R = np.log(loss_R)
        n_params = len(self.form.parameters)

        def residuals(theta_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values_Q, slope_Q = self.values(theta_Q)
            value_R, gradient_RQ = self.form.form_and_gradient(values_Q, self.inputs)
            value_R = np.maximum(value_R, SMALLEST_LOSS)
            log_R, jacobian_RQ = np.log(value_R) - log_loss_R, gradient_RQ * slope_Q / value_R[:, None]
            if self.runs:
                log_R = log_R + theta_Q[n_params:][self.run_R]
                jacobian_RQ = np.hstack([jacobian_RQ, np.eye(self.runs)[self.run_R]])
            prior_P, prior_PQ = self._priors(theta_Q - centre_Q)
            return np.concatenate([log_R, prior_P]), np.vstack([jacobian_RQ, prior_PQ])

        return Objective(residuals, self.bounds, self.settings.delta, len(self._priors(self.bounds[0])[0]))

    def values(self, theta_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates to parameters for scaled inputs, and the derivative of each by its coordinate."""
        pairs = [p.value(float(t)) for p, t in zip(self.form.parameters, theta_Q, strict=False)]
        return np.array([v for v, _ in pairs]), np.array([d for _, d in pairs])

    def natural(self, theta_Q: np.ndarray) -> np.ndarray:
        """Coordinates to the law's parameters."""
        return self.form.natural(self.values(theta_Q)[0], self.units)

    def log_residuals(self, minimum: Minimum) -> np.ndarray:
        """ln loss − ln prediction − u, by row."""
        return -self.objective(self.loss_R).residuals(minimum.theta_Q)[0][: len(self.loss_R)]

    def evidence(self, minimum: Minimum) -> Evidence:
        """What is known about a minimum."""
        near_Q = np.minimum(minimum.theta_Q - self.bounds[0], self.bounds[1] - minimum.theta_Q) < 1e-3
        names = tuple(p.name for p, near in zip(self.form.parameters, near_Q, strict=False) if near)
        residual_R = self.log_residuals(minimum)
        offsets = minimum.theta_Q[len(self.form.parameters) :] if self.runs else np.zeros(len(self.names))
        return Evidence(
            points=len(residual_R),
            curves=len(self.names),
            huber=huber(residual_R, self.settings.delta)[0] / len(residual_R),
            correlation_time=self._noise(minimum)[1],
            converged=minimum.converged,
            at_bounds=names,
            run_offsets=dict(zip(self.names, map(float, offsets), strict=True)),
        )

    def _noise(self, minimum: Minimum) -> tuple[float, float]:
        """Robust variance of the log residuals and the time (in points) over which they are correlated."""
        residual_R = self.log_residuals(minimum)
        variance = 2 * huber(residual_R, self.settings.delta)[0] / len(residual_R)
        same_run = self.run_R[1:] == self.run_R[:-1]
        total = float(residual_R @ residual_R)
        rho = float((residual_R[1:] * residual_R[:-1])[same_run].sum()) / total if total > 0 else 0.0
        rho = min(max(rho, 0.0), 0.99)
        return variance, (1 + rho) / (1 - rho)

    def _priors(self, away_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Penalty residuals, of coordinates so far from their centres, and their Jacobian."""
        weight_Q = np.full(len(away_Q), np.sqrt(self.prior_weight))
        weight_Q[len(self.form.parameters) :] = (
            self.settings.delta
        )  # an offset of run_sd costs what an error of delta does
        chosen = (self.prior_sd > 0) & (weight_Q > 0)
        pull_P = weight_Q[chosen] / self.prior_sd[chosen]
        return pull_P * away_Q[chosen], np.diag(pull_P) @ np.eye(len(away_Q))[chosen]

    def _starts(self) -> list[np.ndarray]:
        residuals = self.objective(self.loss_R).residuals
        starts = [self._inside(values_Q) for values_Q in self.form.start_values(self.inputs, self.loss_R)]
        starts.sort(key=lambda t: float(np.abs(residuals(t)[0]).sum()))
        return starts[: self.settings.starts]

    def _inside(self, values_Q: np.ndarray) -> np.ndarray:
        pairs = zip(self.form.parameters, values_Q, strict=True)
        inside = [p.coordinate(float(np.clip(v, p.low, p.high))) for p, v in pairs]
        return np.array(inside + [0.0] * self.runs)


@dataclass(frozen=True)
class Fit:
    """A fit that has ended: what was solved, where the minimum lies, and what is known about it."""

    problem: Problem[Any, Any]
    minimum: Minimum
    evidence: Evidence
