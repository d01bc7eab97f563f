"""From loss to accuracy: a sigmoid that starts from chance, with a level of its own for each question (docs/task_items.md).

P(right) = chance + (1 − chance)·σ(a + b·loss + u), u normal with mean 0: fitted by maximum likelihood, u integrated out by
Gauss and Hermite's rule. Shapes: M questions, C checkpoints (of one or several models), Q nodes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

NODES = 31
"""Enough for an item sd of about 5; the error of the likelihood is then below that of the fit."""


@dataclass(frozen=True)
class Link:
    """The fitted link: three parameters with standard errors that hold other questions of the kind."""

    intercept: float
    slope: float
    """Log-odds above chance per unit of loss; below 0 where a lower loss helps."""
    item_sd: float
    """Spread of the questions' own levels, in log-odds."""
    errors: NDArray[np.float64]
    """Of intercept, slope and the logarithm of item_sd; sandwich over questions."""
    log_likelihood: float
    questions: int

    @property
    def halfway(self) -> float:
        """The loss at which the median question is answered halfway between chance and always."""
        return -self.intercept / self.slope if self.slope else float("nan")

    def accuracy(self, loss: ArrayLike, chance: float) -> NDArray[np.float64]:
        """Accuracy over all questions of this chance at a loss."""
        nodes, weights = _rule()
        eta = self.intercept + self.slope * np.asarray(loss, dtype=float)[..., None] + self.item_sd * nodes
        return np.asarray(chance + (1 - chance) * (special.expit(eta) @ weights))

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """A row per parameter: estimate and interval (normal; of item_sd on the logarithm)."""
        z = stats.norm.ppf((1 + level) / 2)
        log_sd = np.log(self.item_sd)
        values = np.array([self.intercept, self.slope, log_sd])
        low, high = values - z * self.errors, values + z * self.errors
        low[2], high[2] = np.exp(low[2]), np.exp(high[2])
        estimates = [self.intercept, self.slope, self.item_sd]
        return pd.DataFrame(
            {"parameter": ["intercept", "slope", "item sd"], "estimate": estimates, "ci_low": low, "ci_high": high}
        )


def fit_link(correct_MC: ArrayLike, loss_C: ArrayLike, chance_M: ArrayLike) -> Link:
    """The link of these questions, right (1), wrong (0) or in parts, to the losses of the checkpoints (nats or bits).

    Columns may be checkpoints of several models. Errors are of the questions alone: what all questions of a checkpoint
    share isn't in them, so they are too small for one short series of a noisy model. Raises ValueError for shapes that
    don't fit, values that are not finite, a chance outside 0 to 1, or losses that are all equal.
    """
    y_MC, x_C, chance = (np.asarray(v, dtype=float) for v in (correct_MC, loss_C, chance_M))
    if y_MC.ndim != 2 or y_MC.shape != (len(chance), len(x_C)):
        raise ValueError(f"shapes {y_MC.shape}, {x_C.shape}, {chance.shape}: expected M × C, C and M")
    if not (np.isfinite(y_MC).all() and np.isfinite(x_C).all() and ((chance >= 0) & (chance < 1)).all()):
        raise ValueError("values must be finite, and every chance at least 0 and below 1")
    centre, scale = x_C.mean(), x_C.std()
    if scale == 0:
        raise ValueError("all checkpoints have the same loss: there is nothing to link accuracy to")
    per_item = _per_item(y_MC, (x_C - centre) / scale, chance)
    start = np.array([special.logit(np.clip(_above(y_MC, chance), 0.02, 0.98)), 0.0, 0.0])
    fit = optimize.minimize(lambda t: -per_item(t).sum(), start, method="BFGS")
    theta = fit.x
    covariance = _sandwich(per_item, theta)
    jacobian = np.array([[1.0, -centre / scale, 0.0], [0.0, 1 / scale, 0.0], [0.0, 0.0, 1.0]])
    errors = np.sqrt(np.maximum(np.diag(jacobian @ covariance @ jacobian.T), 0.0))
    slope = theta[1] / scale
    sd = float(np.exp(theta[2]))
    return Link(float(theta[0] - slope * centre), float(slope), sd, errors, float(-fit.fun), len(chance))


def _above(y_MC: NDArray[np.float64], chance_M: NDArray[np.float64]) -> float:
    return float(((y_MC.mean(axis=1) - chance_M) / (1 - chance_M)).mean())


def _rule() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights / weights.sum()


def _per_item(
    y_MC: NDArray[np.float64], x_C: NDArray[np.float64], chance_M: NDArray[np.float64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Log-likelihood of each question as a function of (intercept, slope, ln sd); questions of one chance at once."""
    nodes, weights = _rule()
    groups = [(c, np.flatnonzero(chance_M == c)) for c in np.unique(chance_M)]

    def log_likelihood_M(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        eta_CQ = theta[0] + theta[1] * x_C[:, None] + np.exp(np.clip(theta[2], -7, 4)) * nodes
        known_CQ = special.expit(eta_CQ)
        found = np.empty(len(y_MC))
        for chance, rows in groups:
            p_CQ = np.clip(chance + (1 - chance) * known_CQ, 1e-12, 1 - 1e-12)
            log_right, log_wrong = np.log(p_CQ), np.log1p(-p_CQ)
            total_MQ = y_MC[rows] @ (log_right - log_wrong) + log_wrong.sum(0)
            found[rows] = special.logsumexp(total_MQ, b=weights, axis=1)
        return found

    return log_likelihood_M


def _sandwich(
    per_item: Callable[[NDArray[np.float64]], NDArray[np.float64]], theta: NDArray[np.float64], step: float = 1e-4
) -> NDArray[np.float64]:
    """H⁻¹ (Σ s sᵀ) H⁻¹ with scores and curvature by central differences."""
    shifts = step * np.eye(len(theta))
    score = lambda t: np.stack([(per_item(t + s) - per_item(t - s)) / (2 * step) for s in shifts])  # noqa: E731
    scores_KM = score(theta)
    hessian = np.stack([(score(theta + s).sum(1) - score(theta - s).sum(1)) / (2 * step) for s in shifts])
    inverse = np.linalg.pinv((hessian + hessian.T) / 2)
    return np.asarray(inverse @ (scores_KM @ scores_KM.T) @ inverse)
