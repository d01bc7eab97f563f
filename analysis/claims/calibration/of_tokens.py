"""Verdicts over tokens: 150 of them in 50 windows, 30 checkpoints."""

import numpy as np

from trajlab.analysis.claims.calibration.kinds import BOTH, Kind, Simulate
from trajlab.analysis.claims.claim import SUPPORTED, placed
from trajlab.analysis.claims.trajectories import smallest_mean_interval
from trajlab.analysis.token_trends import classify_trends
from trajlab.analysis.token_trends.across_sizes import agreement, rise_and_fall
from trajlab.analysis.token_trends.chance import ar1, upward_excess

TOKENS, CHECKPOINTS = 150, 30
WINDOWS_M = np.arange(TOKENS) // 3


def _upward(phi: float, shared: float, rising: float = 0.0, by: float = 1.0) -> Simulate:
    """Fewer and smaller draws of the null than a report takes: its interval is a little rougher, not narrower."""

    def simulate(rng: np.random.Generator) -> str:
        nll_MC = 3 + 0.1 * ar1(phi, (TOKENS, CHECKPOINTS), rng) + 0.1 * shared * ar1(phi, (CHECKPOINTS,), rng)
        nll_MC[: int(TOKENS * rising)] += np.linspace(0, by, CHECKPOINTS)
        found = upward_excess(nll_MC, WINDOWS_M, draws=50, seed=int(rng.integers(2**31)), tokens=40)
        return placed(found.low, found.high, (0.0, np.inf))

    return simulate


def _descent(bump: float, slope: float, shared: float = 0.0) -> Simulate:
    """The small model's noise selects tokens; in the large one some rise by ``bump`` and fall again, all move by ``slope``."""

    def simulate(rng: np.random.Generator) -> str:
        u = np.linspace(0, 1, CHECKPOINTS)
        tent_C = bump * (1 - np.abs(2 * u - 1))
        odd_M = np.arange(TOKENS) < 40
        small = 3 + 0.1 * rng.standard_normal((TOKENS, CHECKPOINTS)) + (bump > 0) * np.outer(odd_M, u)
        large = 3 + slope * u + np.outer(odd_M, tent_C) + 0.1 * rng.standard_normal((TOKENS, CHECKPOINTS))
        large += shared * 0.1 * rng.standard_normal(CHECKPOINTS)
        selected = (classify_trends(small)["trend"] == "upward").to_numpy()
        if not selected.any():
            return "not testable"
        parts = rise_and_fall(large, selected, 0, 15).to_numpy()
        return placed(*smallest_mean_interval(parts, WINDOWS_M[selected]), (0.0, np.inf))

    return simulate


def _agree(common: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        own = [rng.gamma(2.0, 0.7, TOKENS) for _ in range(2)]
        final, there = (common * rng.gamma(2.0, 0.7, TOKENS)[:, None] + np.stack(own, 1)).T
        nearer = agreement(final, there) - agreement(final, there + 0.7)
        return placed(*smallest_mean_interval(nearer[:, None], WINDOWS_M), (0.0, np.inf))

    return simulate


KINDS = {
    "upward tokens": Kind(
        {f"trendless, φ = {p:g}": (_upward(p, 0.0), BOTH) for p in (0.0, 0.8, 0.9, 0.95, 1.0)}
        | {f"trendless, φ = {p:g}, half shared": (_upward(p, 0.5), BOTH) for p in (0.0, 0.8, 0.95, 1.0)}
        | {"trendless, φ = 1, twice the own shared": (_upward(1.0, 2.0), BOTH)},
        {
            "three tokens in ten rise by 1 nat, φ = 0.8": (_upward(0.8, 0.0, 0.3), SUPPORTED),
            "three tokens in ten rise by 1 nat, φ = 0.8, a tenth shared": (_upward(0.8, 0.1, 0.3), SUPPORTED),
            "three tokens in ten rise by 1 nat, φ = 0.8, half shared": (_upward(0.8, 0.5, 0.3), SUPPORTED),
            "six tokens in ten rise by 2 nats, φ = 1, half shared": (_upward(1.0, 0.5, 0.6, 2.0), SUPPORTED),
        },
    ),
    "double descent": Kind(
        {
            "flat": (_descent(0, 0), BOTH),
            "flat, shared noise": (_descent(0, 0, 1.0), (SUPPORTED,)),
            "everything falls": (_descent(0, -2), (SUPPORTED,)),
        },
        {"the small model's upward tokens rise by 0.3 and fall": (_descent(0.3, 0), SUPPORTED)},
    ),
    "equal perplexity": Kind(
        {"independent tokens": (_agree(0.0), BOTH)}, {"a common part of equal size": (_agree(1.0), SUPPORTED)}
    ),
}
