"""The position law's fit as a search in one dimension, for all checkpoints at once.

Given a1 the law is linear in a0 and a2, so only log a1 is searched (variable projection).
Shapes: K checkpoints, P positions, N nodes, G grid of the search; X is 1 where all checkpoints share weights, else K.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import f as f_distribution

A1_RANGE = (0.03, 30.0)
"""a1 is searched from 0.03 / last position to 30 / first position. Below, the hyperbola is a line; above, it is c/i."""
GRID = 48
"""How many starting values of log a1 are tried."""


@dataclass(frozen=True)
class Solution:
    """Hyperbolas of K checkpoints as `PositionLaw` has them; losses that can't be fitted are not flagged yet."""

    a0_K: np.ndarray
    a1_K: np.ndarray
    a2_K: np.ndarray
    covariance_K33: np.ndarray
    r2_K: np.ndarray
    sse_K: np.ndarray
    flag_K: np.ndarray


class ReducedProblem:
    """The reduced problem: everything as a function of u = log a1, with h = 1 / (1 + a1·i).

    As a function of log i the hyperbola is a logistic curve, so a polynomial through few Chebyshev nodes gives it to
    the last digits: sums over P positions become sums over N nodes, and the search costs nothing that grows with P.
    X is 1 where all checkpoints share weights, else K.
    """

    def __init__(self, loss_KP: np.ndarray, positions_P: np.ndarray, weights_XP: np.ndarray) -> None:
        self.positions_P, self.weights_XP = positions_P, weights_XP
        self.total_X = weights_XP.sum(1)
        shared = len(weights_XP) == 1
        sum_K = loss_KP @ weights_XP[0] if shared else np.einsum("kp,kp->k", weights_XP, loss_KP)
        self.centre_K = sum_K / self.total_X
        self.centred_KP = loss_KP - self.centre_K[:, None]  # sums of squares lose fewer digits
        self.weighted_KP = self.centred_KP if (weights_XP == 1).all() else weights_XP * self.centred_KP
        self.variation_K = np.einsum("kp,kp->k", self.weighted_KP, self.centred_KP)
        self.nodes_N, onto_PN = _log_nodes(positions_P)
        self.weight_XN, self.moment_KN = weights_XP @ onto_PN, self.weighted_KP @ onto_PN
        self.low, self.high = np.log(A1_RANGE[0] / positions_P.max()), np.log(A1_RANGE[1] / positions_P.min())

    def solve(self, variance_XP: np.ndarray | None) -> Solution:
        """Parameters, their covariance, goodness and flags."""
        u_K, at_bound_K = self._search()
        sums = self._sums(u_K)
        a0_K, a2_K, _ = self._linear(sums)
        a1_K = np.exp(u_K)
        sse_K = self._sse(a0_K, a1_K, a2_K)
        flag_K = np.where(at_bound_K, "at_bound", np.where(a0_K < 0, "rising", "ok")).astype("<U13")
        flat_K = self._flat(sse_K)
        flag_K[flat_K] = "flat"
        covariance = self._covariance(sums, a0_K, a1_K, sse_K)
        if variance_XP is not None:
            covariance = self._sandwich(a0_K, a1_K, variance_XP)
        with np.errstate(divide="ignore", invalid="ignore"):
            r2_K = np.where(self.variation_K > 0, 1 - sse_K / self.variation_K, 0.0)
        found = Solution(a0_K, a1_K, a2_K + self.centre_K, covariance, r2_K, sse_K, flag_K)
        self._flatten(found, flat_K)
        return found

    def _search(self) -> tuple[np.ndarray, np.ndarray]:
        """log a1 at the minimum, and where that lies at an edge: best of a grid, then Newton steps inside its bracket."""
        grid_G = np.linspace(self.low, self.high, GRID)
        best_K = self._grid_sse(grid_G).argmin(1)
        u_K = grid_G[best_K]
        low_K, high_K = grid_G[np.maximum(best_K - 1, 0)], grid_G[np.minimum(best_K + 1, GRID - 1)]
        for _ in range(40):
            slope_K, curvature_K = self._slope(u_K)
            low_K, high_K = np.where(slope_K < 0, u_K, low_K), np.where(slope_K > 0, u_K, high_K)
            with np.errstate(divide="ignore", invalid="ignore"):
                next_K = u_K - slope_K / curvature_K
            inside_K = (next_K >= low_K) & (next_K <= high_K)
            next_K = np.where(inside_K, next_K, (low_K + high_K) / 2)
            step_K, u_K = np.abs(next_K - u_K), next_K
            if (step_K < 1e-9).all():
                break
        edge = 1e-3
        return u_K, (u_K < self.low + edge) | (u_K > self.high - edge)

    def _grid_sse(self, grid_G: np.ndarray) -> np.ndarray:
        """The reduced sum of squares at a grid of u, (K, G)."""
        h_GN = 1 / (1 + np.exp(grid_G)[:, None] * self.nodes_N)
        h, h2 = self.weight_XN @ h_GN.T, self.weight_XN @ (h_GN**2).T
        spread = h2 - h**2 / self.total_X[:, None]
        return self.variation_K[:, None] - (self.moment_KN @ h_GN.T) ** 2 / np.maximum(spread, 1e-300)

    def _slope(self, u_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First derivative of half the reduced sum of squares in u, and its Gauss–Newton second."""
        sums = self._sums(u_K)
        h, h2, h3, h4, yh, yh2 = sums
        a0, a2, spread = self._linear(sums)
        slope = a0 * ((yh - yh2) - a0 * (h2 - h3) - a2 * (h - h2))
        # the part of dh/du = −(h − h²) that a0 and a2 can't take up
        d, dh, dd = h - h2, h2 - h3, h2 - 2 * h3 + h4
        across = dh - h * d / self.total_X
        free = dd - d**2 / self.total_X - across**2 / spread
        return slope, a0**2 * np.maximum(free, 1e-12 * dd)

    def _sums(self, u_K: np.ndarray) -> np.ndarray:
        """Σ w·h, w·h², w·h³, w·h⁴, w·y·h and w·y·h² at each checkpoint's own u, (6, K)."""
        h_KN = 1 / (1 + np.exp(u_K)[:, None] * self.nodes_N)
        h2_KN = h_KN**2
        weight_KN = np.broadcast_to(self.weight_XN, h_KN.shape)
        pairs = ((h_KN, 0), (h2_KN, 0), (h_KN * h2_KN, 0), (h2_KN**2, 0), (h_KN, 1), (h2_KN, 1))
        return np.stack([np.einsum("kn,kn->k", self.moment_KN if y else weight_KN, h) for h, y in pairs])

    def _linear(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The best a0 and a2 (of centred losses) at a given a1, and the weighted spread of h."""
        h, h2, _, _, yh, _ = sums
        spread = np.maximum(h2 - h**2 / self.total_X, 1e-300)
        a0 = yh / spread  # centred: Σ w·y = 0
        return a0, -a0 * h / self.total_X, spread

    def _sse(self, a0_K: np.ndarray, a1_K: np.ndarray, a2_K: np.ndarray) -> np.ndarray:
        """The weighted sum of squares, residual by residual; in place, for it is half of a fit's time."""
        curve_KP = a1_K[:, None] * self.positions_P
        curve_KP += 1
        np.divide(a0_K[:, None], curve_KP, out=curve_KP)
        np.subtract(self.centred_KP, curve_KP, out=curve_KP)
        curve_KP -= a2_K[:, None]
        weighted_KP = curve_KP if self.weighted_KP is self.centred_KP else self.weights_XP * curve_KP
        return np.einsum("kp,kp->k", weighted_KP, curve_KP)

    def _flat(self, sse_K: np.ndarray) -> np.ndarray:
        """Where an F test at 5 % finds the hyperbola no better than a constant."""
        free_K = np.broadcast_to((self.weights_XP > 0).sum(1) - 3, sse_K.shape)
        scale_K = self.total_X * (self.centre_K**2 + 1e-300)
        gained_K = np.maximum(self.variation_K - sse_K, 0) / 2
        critical_K = _critical_f(free_K)
        return (self.variation_K <= 1e-24 * scale_K) | (gained_K < critical_K * sse_K / np.maximum(free_K, 1))

    def _covariance(self, sums: np.ndarray, a0_K: np.ndarray, a1_K: np.ndarray, sse_K: np.ndarray) -> np.ndarray:
        """From the residuals: s²·(JᵀWJ)⁻¹, in the order a0, a1, a2."""
        free_K = np.broadcast_to((self.weights_XP > 0).sum(1) - 3, sse_K.shape)
        return _inverse(self._normal(sums, a0_K, a1_K)) * (sse_K / np.maximum(free_K, 1))[:, None, None]

    def _normal(self, sums: np.ndarray, a0_K: np.ndarray, a1_K: np.ndarray) -> np.ndarray:
        """JᵀWJ, (K, 3, 3); the derivative by a1 is −a0·(h − h²)/a1."""
        h, h2, h3, h4, _, _ = sums
        scale = -a0_K / a1_K
        total = np.broadcast_to(self.total_X, h.shape)
        normal = np.empty((len(h), 3, 3))
        normal[:, 0, 0], normal[:, 2, 2] = h2, total
        normal[:, 1, 1] = scale**2 * (h2 - 2 * h3 + h4)
        normal[:, 0, 1] = normal[:, 1, 0] = scale * (h2 - h3)
        normal[:, 0, 2] = normal[:, 2, 0] = h
        normal[:, 1, 2] = normal[:, 2, 1] = scale * (h - h2)
        return normal

    def _sandwich(self, a0_K: np.ndarray, a1_K: np.ndarray, variance_XP: np.ndarray) -> np.ndarray:
        """From the losses' known errors: (JᵀWJ)⁻¹·JᵀWVWJ·(JᵀWJ)⁻¹."""
        h_KP = 1 / (1 + a1_K[:, None] * self.positions_P)
        slope_KP = (-a0_K / a1_K)[:, None] * (h_KP - h_KP**2)
        jacobian = np.stack([h_KP, slope_KP, np.ones_like(h_KP)], -1)
        normal = np.einsum("kpi,kp,kpj->kij", jacobian, np.broadcast_to(self.weights_XP, h_KP.shape), jacobian)
        noise = np.broadcast_to(self.weights_XP**2 * np.where(self.weights_XP > 0, variance_XP, 0.0), h_KP.shape)
        inverse = _inverse(normal)
        return inverse @ np.einsum("kpi,kp,kpj->kij", jacobian, noise, jacobian) @ inverse

    def _flatten(self, found: Solution, flat_K: np.ndarray) -> None:
        """A flat checkpoint is a constant: its mean, no gap, no length scale."""
        found.a0_K[flat_K], found.a1_K[flat_K], found.r2_K[flat_K] = 0.0, np.nan, 0.0
        found.a2_K[flat_K], found.sse_K[flat_K] = self.centre_K[flat_K], self.variation_K[flat_K]
        free_K = np.broadcast_to((self.weights_XP > 0).sum(1) - 1, flat_K.shape)
        found.covariance_K33[flat_K] = np.nan
        found.covariance_K33[flat_K, 2, 2] = (self.variation_K / np.maximum(free_K, 1) / self.total_X)[flat_K]


def _log_nodes(positions_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes N among the positions and the matrix (P, N) with Σ_i w_i·f(i) = Σ_n (w @ onto)_n·f(n) for smooth f of log i.

    The hyperbola's pole in log i lies at a distance of π from the real line, which gives the interpolation's rate and
    with it how many nodes reach 1e-13.
    """
    half = np.log(positions_P.max() / positions_P.min()) / 2
    if half == 0:
        return positions_P, np.eye(len(positions_P))
    rate = np.pi / half + np.hypot(1, np.pi / half)
    count = int(np.ceil(30 / np.log(rate))) + 2
    if count >= len(positions_P):
        return positions_P, np.eye(len(positions_P))
    cosine_N = -np.cos(np.pi * np.arange(count) / (count - 1))
    nodes_N = positions_P.min() * np.exp(half * (1 + cosine_N))
    nodes_N[[0, -1]] = positions_P.min(), positions_P.max()
    barycentric_N = (-1.0) ** np.arange(count)
    barycentric_N[[0, -1]] /= 2
    away_PN = np.log(positions_P)[:, None] - np.log(nodes_N)
    exact_PN = away_PN == 0
    onto_PN = barycentric_N / np.where(exact_PN, 1.0, away_PN)
    onto_PN[exact_PN.any(1)] = exact_PN[exact_PN.any(1)]
    return nodes_N, onto_PN / onto_PN.sum(1, keepdims=True)


def _inverse(normal: np.ndarray) -> np.ndarray:
    """The inverses of 3×3 matrices after scaling to a unit diagonal; NaN where one is singular."""
    scale = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), 1e-300))
    outer = scale[:, :, None] * scale[:, None, :]
    scaled = normal / outer
    singular = ~(np.linalg.det(scaled) > 1e-15)
    scaled[singular] = np.eye(3)
    inverse = np.linalg.inv(scaled) / outer
    inverse[singular] = np.nan
    return inverse


@lru_cache
def _critical(free: int) -> float:
    return float(f_distribution.isf(0.05, 2, free))


def _critical_f(free_K: np.ndarray) -> np.ndarray:
    """The 5 % point of F(2, free): few different values among thousands of rows."""
    values, place = np.unique(np.maximum(free_K, 1), return_inverse=True)
    return np.array([_critical(int(v)) for v in values])[place]
