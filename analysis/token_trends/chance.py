"""Upward tokens beyond chance: what trendless tokens with the same noise would show (docs/methods.md §6).

The noise of a checkpoint series has two parts: one that all tokens of a checkpoint share, and each token's own; both are
autocorrelated. Shapes: M tokens, C checkpoints, B draws.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajlab.analysis.token_trends.classes import classify_trends

PHIS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)
"""Autocorrelations at which the null is simulated; 1 is a random walk."""
WALK = 0.965
"""Above it an estimate counts as a random walk: a few dozen checkpoints can't tell the two apart **(ours)**; chosen on
simulated noise, 30 checkpoints of 150 tokens."""
TOKENS = 200
"""Simulated tokens of a draw: enough that their own noise adds little to what all share."""


def ar1(phi: float | NDArray[np.float64], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """AR(1) of unit variance along the last axis; a random walk of unit steps where φ = 1. ``phi`` broadcasts over the rest."""
    e = rng.standard_normal(shape)
    step = np.where(np.asarray(phi) == 1, 1.0, np.sqrt(1 - np.square(phi)))
    for t in range(1, shape[-1]):
        e[..., t] = phi * e[..., t - 1] + step * e[..., t]
    return e


@dataclass(frozen=True)
class Noise:
    """What is left of the tokens' losses (nats) when each one's quadratic is taken off.

    A value per draw: the estimates differ from draw to draw by as much as they are uncertain.
    """

    own_phi_B: NDArray[np.float64]
    own_sd_B: NDArray[np.float64]
    shared_phi_B: NDArray[np.float64]
    shared_sd_B: NDArray[np.float64]
    """Scales of unit-variance AR(1), or of the steps of a random walk."""

    def draw(self, tokens: int, checkpoints: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Trendless losses (B, M, C)."""
        draws = len(self.own_phi_B)
        own_BMC = ar1(self.own_phi_B[:, None], (draws, tokens, checkpoints), rng)
        shared_BC = ar1(self.shared_phi_B, (draws, checkpoints), rng)
        return np.asarray(self.own_sd_B[:, None, None] * own_BMC + (self.shared_sd_B[:, None] * shared_BC)[:, None])


def noise_of(nll_MC: NDArray[np.floating], draws: int, rng: np.random.Generator) -> Noise:
    """Scales and autocorrelations by moments: those whose simulated residuals look like the tokens' own.

    The least-squares quadratic takes part of a slow noise with it, so residuals look whiter than the noise is; what a φ looks
    like afterwards is simulated, and read backwards. The shared noise is one series, so its φ and scale are the less certain.
    """
    residual_MC = _detrended(nll_MC.astype(float))
    shared_C = residual_MC.mean(0)
    own_MC = residual_MC - shared_C
    looks = _looks(nll_MC.shape[1], rng)
    own_phi_B, own_sd_B = _matched(own_MC, looks, draws, rng)
    left = float(np.square(own_MC).mean()) / max(len(own_MC) - 1, 1)  # what the tokens' own noise leaves in their mean
    if float(np.square(shared_C).mean()) <= 2 * left:
        return Noise(own_phi_B, own_sd_B, np.zeros(draws), np.zeros(draws))
    return Noise(own_phi_B, own_sd_B, *_matched(shared_C[None], looks, draws, rng))


def _detrended(y_MC: NDArray[np.float64]) -> NDArray[np.float64]:
    basis = np.linalg.qr(np.vander(np.linspace(-1, 1, y_MC.shape[-1]), 3))[0]
    return np.asarray(y_MC - (y_MC @ basis) @ basis.T)


def _looks(checkpoints: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Lag-one autocorrelation and variance of residuals at each of `PHIS`, (2, len(PHIS))."""
    return np.array([_lag_one(_detrended(ar1(phi, (4 * TOKENS, checkpoints), rng))) for phi in PHIS]).T


def _lag_one(residual_MC: NDArray[np.float64]) -> tuple[float, float]:
    """Pooled lag-one autocorrelation and variance."""
    variance = float(np.square(residual_MC).mean())
    product = float((residual_MC[:, 1:] * residual_MC[:, :-1]).mean())
    return (product / variance if variance > 0 else 0.0), variance


def _matched(
    residual_MC: NDArray[np.float64], looks: NDArray[np.float64], draws: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """φ (interpolated in the simulated residual autocorrelation) and scale, as often as there are draws.

    The lag-one autocorrelation of n values has a standard error of about √((1 − r²)/n), and a mean square over n(1 − r²)/(1 + r²)
    independent ones the spread of a χ².
    """
    seen, variance = _lag_one(residual_MC)
    n = residual_MC.size - 3 * len(residual_MC)
    rough = min(max(seen, 0.0), 0.95)
    r1_B = seen + np.sqrt((1 - rough**2) / n) * rng.standard_normal(draws)
    free = max(n * (1 - rough**2) / (1 + rough**2), 2.0)
    variance_B = variance * free / rng.chisquare(free, draws)
    r1_P = np.maximum.accumulate(looks[0]) + 1e-9 * np.arange(len(PHIS))
    phi_B = np.interp(r1_B, r1_P, PHIS)
    phi_B[phi_B > WALK] = 1.0
    left_B = np.where(phi_B == 1, looks[1, -1], np.interp(phi_B, PHIS[:-1], looks[1, :-1]))
    return phi_B, np.sqrt(variance_B / left_B)


@dataclass(frozen=True)
class UpwardExcess:
    """Share of upward tokens beyond what trendless tokens with the same noise would show."""

    share: float
    expected: float
    low: float
    high: float
    """95 % interval of the excess: windows resampled, checkpoints' noise drawn anew."""
    noise: Noise

    @property
    def excess(self) -> float:
        """Observed less expected."""
        return self.share - self.expected


def upward_excess(
    nll_MC: NDArray[np.floating],
    clusters_M: NDArray[np.int64],
    draws: int = 200,
    seed: int = 0,
) -> UpwardExcess:
    """Upward share by the AR(1) test against its simulated null; ``clusters_M`` are the tokens' windows.

    Only tokens without a trend can be upward by chance. How many there are is estimated from the tokens that are neither
    upward nor downward, as Storey does (2002, doi:10.1111/1467-9868.00346): share called neither ÷ its share in the null.
    """
    rng = np.random.default_rng(seed)
    trend = classify_trends(nll_MC, 0, test="ar1")["trend"].to_numpy()
    up_M, neither_M = trend == "upward", (trend != "upward") & (trend != "downward")
    noise = noise_of(nll_MC, draws, rng)
    null_BMC = noise.draw(TOKENS, nll_MC.shape[1], rng)
    null = (
        classify_trends(null_BMC.reshape(-1, nll_MC.shape[1]), 0, test="ar1")["trend"].to_numpy().reshape(draws, TOKENS)
    )
    up_B = (null == "upward").mean(1)
    neither_B = 1 - up_B - (null == "downward").mean(1)
    index = np.unique(clusters_M, return_inverse=True)[1]
    sums = np.stack([np.bincount(index, m) for m in (up_M, neither_M, np.ones(len(up_M)))])
    chosen = rng.integers(0, sums.shape[1], (draws * 5, sums.shape[1]))
    up, calm, count = sums[:, chosen].sum(-1)
    which = np.arange(len(up)) % draws
    by_chance = np.minimum(calm / count / np.maximum(neither_B[which], 1e-9), 1.0) * up_B[which]
    low, high = np.percentile(up / count - by_chance, [2.5, 97.5])
    return UpwardExcess(float(up_M.mean()), float(by_chance.mean()), float(low), float(high), noise)
