"""Upward tokens beyond chance: what trendless tokens with the same noise would show (docs/methods.md §6).

The noise of a checkpoint series has two parts: one that all tokens of a checkpoint share, and each token's own; both are
autocorrelated. Shapes: M tokens, C checkpoints, B draws.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trajlab.analysis.token_trends.classes import TRENDS, classify_trends

PHIS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)
"""Autocorrelations at which the null is simulated; 1 is a random walk."""
WALK = 0.965
"""Above it an estimate counts as a random walk: a few dozen checkpoints can't tell the two apart **(ours)**; chosen on
simulated noise, 30 checkpoints of 150 tokens."""
TOKENS = 100
"""Simulated tokens of a draw: enough that their own noise adds little to what all share."""
CANDIDATES = 800
"""Simulated series at each of `PHIS` that the shared noise is compared with."""
RULED_OUT = 0.05
"""A φ is ruled out for the shared noise where fewer simulated series look as little autocorrelated **(ours)**."""


def ar1(phi: float | NDArray[np.float64], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """AR(1) of unit variance along the last axis; a random walk of unit steps where φ = 1. ``phi`` broadcasts over the rest."""
    e = rng.standard_normal((shape[-1], *shape[:-1]))  # time first: each step runs over neighbours in memory
    step = np.where(np.asarray(phi) == 1, 1.0, np.sqrt(1 - np.square(phi)))
    e[1:] *= step
    for t in range(1, len(e)):
        e[t] += phi * e[t - 1]
    return np.moveaxis(e, 0, -1)


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
    own_phi_B, own_sd_B = _matched(own_MC, draws, rng)
    left = float(np.square(own_MC).mean()) / max(len(own_MC) - 1, 1)  # what the tokens' own noise leaves in their mean
    if float(np.square(shared_C).mean()) <= 2 * left:
        return Noise(own_phi_B, own_sd_B, np.zeros(draws), np.zeros(draws))
    return Noise(own_phi_B, own_sd_B, *_alike(shared_C, left, draws, rng))


def _detrended(y_MC: NDArray[np.float64]) -> NDArray[np.float64]:
    basis = np.linalg.qr(np.vander(np.linspace(-1, 1, y_MC.shape[-1]), 3))[0]
    return np.asarray(y_MC - (y_MC @ basis) @ basis.T)


@lru_cache(maxsize=8)
def _looks(checkpoints: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lag-one autocorrelation and variance of the residuals of single series, at each of `PHIS`: two (len(PHIS), N) arrays.

    The same for all data of a length, so they are drawn once.
    """
    rng = np.random.default_rng(checkpoints)
    residual_PNC = np.stack([_detrended(ar1(phi, (CANDIDATES, checkpoints), rng)) for phi in PHIS])
    variance_PN = np.square(residual_PNC).mean(-1)
    return (residual_PNC[..., 1:] * residual_PNC[..., :-1]).mean(-1) / variance_PN, variance_PN


def _lag_one(residual_MC: NDArray[np.float64]) -> tuple[float, float]:
    """Pooled lag-one autocorrelation and variance."""
    variance = float(np.square(residual_MC).mean())
    product = float((residual_MC[:, 1:] * residual_MC[:, :-1]).mean())
    return (product / variance if variance > 0 else 0.0), variance


def _matched(
    residual_MC: NDArray[np.float64], draws: int, rng: np.random.Generator
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
    r1_PN, variance_PN = _looks(residual_MC.shape[1])
    variance_P = variance_PN.mean(1)
    r1_P = np.maximum.accumulate((r1_PN * variance_PN).mean(1) / variance_P) + 1e-9 * np.arange(len(PHIS))
    phi_B = np.interp(r1_B, r1_P, PHIS)
    phi_B[phi_B > WALK] = 1.0
    left_B = np.where(phi_B == 1, variance_P[-1], np.interp(phi_B, PHIS[:-1], variance_P[:-1]))
    return phi_B, np.sqrt(variance_B / left_B)


def _alike(
    shared_C: NDArray[np.float64], left: float, draws: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest φ that the shared noise does not rule out, and scales of series with it that look as autocorrelated.

    One series of a few dozen checkpoints says little of its φ, and a φ too small makes trends by chance look rare. So the test is
    taken at the least favourable φ among those not rejected at `RULED_OUT` (Berger & Boos 1994, doi:10.1080/01621459.1994.10476836):
    more can't be shown against noise that may be a random walk.
    """
    seen, variance = _lag_one(shared_C[None])
    r1_PN, variance_PN = _looks(len(shared_C))
    p = int(np.flatnonzero((r1_PN <= seen).mean(1) >= RULED_OUT).max(initial=0))
    alike_N = np.argsort(np.abs(r1_PN[p] - seen))[: CANDIDATES // 4]
    scale_B = np.sqrt(max(variance - left, 0.0) / variance_PN[p, rng.choice(alike_N, draws)])
    return np.full(draws, PHIS[p]), scale_B


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
    nll_MC: NDArray[np.floating], clusters_M: NDArray[np.int64], draws: int = 200, seed: int = 0, tokens: int = TOKENS
) -> UpwardExcess:
    """Upward share by the AR(1) test against its simulated null; ``clusters_M`` are the tokens' windows.

    Only tokens without a trend can be upward by chance. How many there are at most is told by the tokens that are neither
    upward nor downward, as Storey does (2002, doi:10.1111/1467-9868.00346): share called neither ÷ its share in the null, the
    upper end of its 95 % interval. The estimate itself would be low exactly where many are upward by chance.
    """
    rng = np.random.default_rng(seed)
    trend = classify_trends(nll_MC, 0, test="ar1")["trend"].to_numpy()
    up_M, neither_M = trend == "upward", (trend != "upward") & (trend != "downward")
    noise = noise_of(nll_MC, draws, rng)
    up_B, neither_B = _null_shares(noise.draw(tokens, nll_MC.shape[1], rng))
    index = np.unique(clusters_M, return_inverse=True)[1]
    sums = np.stack([np.bincount(index, m) for m in (up_M, neither_M, np.ones(len(up_M)))])
    chosen = rng.integers(0, sums.shape[1], (draws * 5, sums.shape[1]))
    up, calm, count = sums[:, chosen].sum(-1)
    which = np.arange(len(up)) % draws
    trendless = min(1.0, float(np.quantile(calm / count / np.maximum(neither_B[which], 1e-9), 0.975)))
    by_chance = trendless * up_B[which]
    low, high = np.percentile(up / count - by_chance, [2.5, 97.5])
    return UpwardExcess(float(up_M.mean()), float(by_chance.mean()), float(low), float(high), noise)


def _null_shares(null_BMC: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of upward tokens, and of those neither upward nor downward, of each draw."""
    draws, tokens, checkpoints = null_BMC.shape
    found = classify_trends(null_BMC.reshape(-1, checkpoints), 0, test="ar1")["trend"].cat.codes.to_numpy()
    found_BM = found.reshape(draws, tokens)
    up_B = (found_BM == TRENDS.index("upward")).mean(1)
    return up_B, 1 - up_B - (found_BM == TRENDS.index("downward")).mean(1)
