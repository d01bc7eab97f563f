"""Fitting the position law: `fit_position_law` checks and weighs, `reduced_problem` solves.

Shapes: K checkpoints, P positions; X is 1 where all checkpoints share weights, else K.
"""

import numpy as np

from trajlab.analysis.position_law.law import PositionLaw
from trajlab.analysis.position_law.reduced_problem import ReducedProblem

LARGEST_LOSS = 1e30
"""Nats. A larger number is no loss, and its powers overflow."""
MIN_POSITIONS = 4
"""A fit of three parameters needs at least one position more."""


def fit_position_law(
    loss_KP: np.ndarray,
    positions: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    variance: np.ndarray | None = None,
) -> PositionLaw:
    """Weighted least squares of the hyperbola at every checkpoint, by variable projection.

    Given a1 the law is linear in a0 and a2, so only log a1 is searched, for all checkpoints at once. ``positions`` are
    1, 2, … unless given; ``weights`` (P or K×P; counts, say) are ones. ``variance`` holds the squared standard errors of
    the losses: it gives the weights where none are given, and the parameters' errors; without it they come from the
    residuals. A weight of 0 leaves a position out. Degenerate rows are flagged, never an exception; ValueError only for
    shapes that don't match, positions below 1 and negative weights.
    """
    loss_KP = np.atleast_2d(np.asarray(loss_KP, float))
    count, length = loss_KP.shape
    positions_P = np.arange(1.0, length + 1) if positions is None else np.asarray(positions, float)
    if positions_P.shape != (length,):
        raise ValueError(f"{length} losses per checkpoint, {positions_P.size} positions")
    if not (positions_P > 0).all():
        raise ValueError("positions are counted from 1; one is 0 or less")
    variance_XP = None if variance is None else _rows(variance, loss_KP, "variance")
    weights_XP = _weights(weights, variance_XP, loss_KP)
    finite_K = ((np.abs(loss_KP) < LARGEST_LOSS) | (weights_XP == 0)).all(1) & np.isfinite(weights_XP).all(1)
    enough_K = np.broadcast_to((weights_XP > 0).sum(1) >= MIN_POSITIONS, count)
    fit_K = finite_K & enough_K
    weights_XP, usable_KP = _usable(loss_KP, weights_XP, fit_K)
    law = ReducedProblem(usable_KP, positions_P, weights_XP).solve(variance_XP)
    flag_K = np.where(~finite_K, "not_finite", np.where(~enough_K, "few_positions", law.flag_K))
    for values_K in (law.a0_K, law.a1_K, law.a2_K, law.r2_K, law.sse_K, law.covariance_K33):
        values_K[~fit_K] = np.nan
    return PositionLaw(
        positions_P=positions_P,
        a0_K=law.a0_K,
        a1_K=law.a1_K,
        a2_K=law.a2_K,
        covariance_K33=law.covariance_K33,
        r2_K=law.r2_K,
        sse_K=law.sse_K,
        flag_K=flag_K,
        loss_KP=loss_KP,
        weights_KP=np.broadcast_to(weights_XP, loss_KP.shape),
    )


def _usable(loss_KP: np.ndarray, weights_XP: np.ndarray, fit_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and losses that the algebra can take: zeros where nothing counts, so that one bad row spoils no other."""
    if not fit_K.all():
        weights_XP = np.where(fit_K[:, None], weights_XP, 1.0)
        return weights_XP, np.where(fit_K[:, None] & (weights_XP > 0), loss_KP, 0.0)
    return weights_XP, loss_KP if np.isfinite(loss_KP).all() else np.where(weights_XP > 0, loss_KP, 0.0)


def _rows(values: np.ndarray, loss_KP: np.ndarray, name: str) -> np.ndarray:
    """One row for all checkpoints or one for each."""
    rows_XP = np.atleast_2d(np.asarray(values, float))
    if rows_XP.shape not in (loss_KP.shape, (1, loss_KP.shape[1])):
        raise ValueError(f"{name} has shape {np.shape(values)}, wanted {loss_KP.shape} or {loss_KP.shape[1:]}")
    return rows_XP


def _weights(weights: np.ndarray | None, variance_XP: np.ndarray | None, loss_KP: np.ndarray) -> np.ndarray:
    if weights is not None:
        weights_XP = _rows(weights, loss_KP, "weights")
        if (weights_XP < 0).any():
            raise ValueError("weights must not be negative")
        return weights_XP[:1] if (weights_XP == weights_XP[:1]).all() else weights_XP
    if variance_XP is not None:
        with np.errstate(divide="ignore"):
            return np.where(variance_XP > 0, 1 / variance_XP, 0.0)
    return np.ones((1, loss_KP.shape[1]))
