"""Verdicts over seeds: 6 of them, 21 intervals."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.claims import averaging, budget, budget_steadiness
from trajlab.analysis.claims.calibration.kinds import BOTH, INTERVALS, NOISES, SEEDS, Kind, Simulate, noise
from trajlab.analysis.claims.claim import CONTRADICTED, SUPPORTED, UNDECIDED, mean_claim
from trajlab.analysis.statistics.calibration import NULL_MODELS
from trajlab.analysis.statistics.max_t import paired_max_t, unpaired_max_t
from trajlab.analysis.statistics.sums_of_squares import corrected_p, decompose, greenhouse_geisser
from trajlab.analysis.statistics.text_errors import window_errors
from trajlab.analysis.steadiness import rises_beyond
from trajlab.analysis.target_times import log_rank, paired_difference
from trajlab.analysis.token_trends.chance import ar1
from trajlab.analysis.turning_point import turn_of

SHARE_K = np.linspace(0, 1, INTERVALS)
SMOOTH_K = 2.5 + 5.5 * np.exp(-0.6 * np.arange(INTERVALS)) - 0.004 * np.arange(INTERVALS)
VALLEY_K = np.interp(np.arange(INTERVALS), [0, 1, 2, 4, INTERVALS - 1], [8.36, 3.6, 3.05, 2.8, 3.9])
SHAKEN_K = np.where((np.arange(INTERVALS) % 2 == 1) & (np.arange(INTERVALS) > 8), 0.1, 0.0)
SHAKEN = "every other loss 0.1 higher from interval 9"


def _mean(shift: float, draw: str = "normal") -> Simulate:
    return lambda rng: mean_claim("", 0.0, _values(draw, rng) + shift, 2.5, "").verdict


def _values(draw: str, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.standard_normal(SEEDS) if draw == "normal" else rng.standard_t(3, SEEDS)


def _paired(shift: float, draw: str = "normal") -> Simulate:
    return lambda rng: averaging._over_runs("", pd.Series(_values(draw, rng) + shift)).verdict


def _effect(model: str, size: float = 0.0, shared: float = 0.0) -> Simulate:
    """p by the vectorised twin of `rm_anova`, which a test holds together with it."""

    def simulate(rng: np.random.Generator) -> str:
        y_SK = NULL_MODELS[model]((1, SEEDS, INTERVALS), rng)[0] + size * np.linspace(-1, 1, INTERVALS)
        y_SK = y_SK + shared * NULL_MODELS[model]((1, 1, INTERVALS), rng)[0]
        p = corrected_p(decompose(y_SK[None]).f_B, greenhouse_geisser(y_SK[None]), *y_SK.shape)
        return budget.effect_verdict(float(p[0]), y_SK, 0.05)

    return simulate


def _turn(place: int, model: str, slope: float, shared: float = 0.0) -> Simulate:
    """A valley at ``place``, judged against one published a fifth into the budget (interval 4)."""

    def simulate(rng: np.random.Generator) -> str:
        y_SK = slope * np.abs(np.arange(INTERVALS) - place) + noise(model, (SEEDS, INTERVALS), rng)
        return budget.turn_claim(turn_of(y_SK + shared * noise(model, (INTERVALS,), rng)), SHARE_K).verdict

    return simulate


def _declared(curve_K: NDArray[np.floating] | float, model: str, shared: float = 0.0) -> Simulate:
    """Whether a turn is declared at 5 %; noise of sd or steps 1."""

    def simulate(rng: np.random.Generator) -> str:
        y_SK = curve_K + noise(model, (SEEDS, INTERVALS), rng) + shared * noise(model, (INTERVALS,), rng)
        return SUPPORTED if turn_of(y_SK).p <= 0.05 else UNDECIDED

    return simulate


def _differ(paired: bool, model: str, stretch: float = 0.0, shared: float = 0.0) -> Simulate:
    """Two conditions, B lower by ``stretch`` at six intervals; ``shared``: what the paired runs of a seed have in common."""

    def simulate(rng: np.random.Generator) -> str:
        a_SK, b_SK = noise(model, (2, SEEDS, INTERVALS), rng) + shared * noise(model, (SEEDS, INTERVALS), rng)
        b_SK[:, 8:14] -= stretch
        found = paired_max_t(b_SK - a_SK) if paired else unpaired_max_t(a_SK, b_SK)
        return SUPPORTED if found.p <= 0.05 else UNDECIDED

    return simulate


def _differ_in_spread(model: str, runs: tuple[int, int], lower: float = 0.0) -> Simulate:
    """Two conditions with other numbers of runs; the larger group has a third of the other's spread."""

    def simulate(rng: np.random.Generator) -> str:
        a_SK, b_RK = (noise(model, (n, INTERVALS), rng) for n in runs)
        return SUPPORTED if unpaired_max_t(a_SK, b_RK / 3 - lower).p <= 0.05 else UNDECIDED

    return simulate


def _sooner(paired: bool, budget_tokens: float, factor: float = 1.0) -> Simulate:
    """Tokens to a target, lognormal with a part that a seed's two runs share; runs end at the budget (median: 1)."""

    def simulate(rng: np.random.Generator) -> str:
        shared_S = 0.2 * rng.standard_normal(SEEDS)
        time_2S = np.exp(shared_S + 0.2 * rng.standard_normal((2, SEEDS))) * np.array([[1.0], [factor]])
        seen_2S, reached_2S = np.minimum(time_2S, budget_tokens), time_2S <= budget_tokens
        if paired:
            _, low, high = paired_difference(seen_2S[1] - seen_2S[0])
            return SUPPORTED if low > 0 or high < 0 else UNDECIDED
        p = log_rank(seen_2S.ravel(), reached_2S.ravel(), np.repeat([0, 1], SEEDS))
        return SUPPORTED if p <= 0.05 else UNDECIDED

    return simulate


def _volatility(curve_K: NDArray[np.float64], phi: float, shared: float = 0.0) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        e_SK = ar1(phi, (SEEDS, INTERVALS), rng) + shared * ar1(phi, (INTERVALS,), rng)
        return budget_steadiness.volatility_claim((curve_K + 0.005 * e_SK)[:, 1:]).verdict

    return simulate


def _measured(
    curve_K: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Losses on 32 windows of text whose error all seeds share, and the standard errors of their changes, both (S, K)."""
    text_KW = 0.002 * np.sqrt(32) * rng.standard_normal((INTERVALS, 32))
    loss_SK = curve_K + 0.003 * rng.standard_normal((SEEDS, 1)) + text_KW.mean(1)
    # a seed's own level is the same in all windows of an interval, so all seeds have the same errors
    error_K = np.r_[np.nan, window_errors(np.diff(text_KW, axis=0))]
    return loss_SK, np.tile(error_K, (SEEDS, 1))


def _backslides(curve_K: NDArray[np.float64]) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        loss_SK, error_SK = _measured(curve_K, rng)
        return budget_steadiness.backslides_claim(rises_beyond(loss_SK[:, 1:], error_SK[:, 2:])).verdict

    return simulate


def _stable_phase(curve_K: NDArray[np.float64]) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        return budget_steadiness.stable_phase_claim(list(zip(*_measured(curve_K, rng), strict=True))).verdict

    return simulate


KINDS = {
    "equal mean": Kind(
        {"mean at the margin": (_mean(2.5), BOTH), "mean at the margin, t₃": (_mean(2.5, "t₃"), BOTH)},
        {"the published mean, margin 2.5 sd": (_mean(0.0), SUPPORTED)},
    ),
    "paired over seeds": Kind(
        {"no difference, normal": (_paired(0), BOTH), "no difference, t₃": (_paired(0, "t₃"), BOTH)},
        {"a difference of 2 sd": (_paired(2.0), SUPPORTED)},
    ),
    "interval effect": Kind(
        {f"flat, {m}": (_effect(m), BOTH) for m in NULL_MODELS}
        | {f"flat, {m}, a fifth shared by all seeds": (_effect(m, shared=0.2), BOTH) for m in NULL_MODELS},
        {"slope of ±3 sd, AR(1) with drift": (_effect("AR(1) with drift", 3.0), SUPPORTED)},
    ),
    "place of the turn": Kind(
        {f"turn two intervals away, {m}": (_turn(6, m, 1.8), (SUPPORTED,)) for m in NOISES}
        | {f"turn where published, {m}": (_turn(4, m, 1.8), (CONTRADICTED,)) for m in NOISES}
        | {"turn where published, white, half shared": (_turn(4, "white", 1.8, 0.5), (CONTRADICTED,))},
        {
            f"turn where published, {size:g} sd of a seed per interval": (_turn(4, "white", size), SUPPORTED)
            for size in (0.6, 1.2, 1.8, 2.5)
        },
    ),
    "a turn": Kind(
        {f"flat, {m}": (_declared(0.0, m), BOTH) for m in NOISES}
        | {"falling throughout, white": (_declared(-0.5 * np.arange(INTERVALS), "white"), BOTH)}
        | {"flat, white, half shared": (_declared(0.0, "white", 0.5), BOTH)},
        {
            "a fall and a rise of 2 sd of a seed": (
                _declared(np.interp(SHARE_K, [0, 0.3, 1], [2, 0, 2]), "white"),
                SUPPORTED,
            ),
            "a fall and a rise of 4 sd of a seed": (
                _declared(np.interp(SHARE_K, [0, 0.3, 1], [4, 0, 4]), "white"),
                SUPPORTED,
            ),
        },
    ),
    "conditions differ": Kind(
        {f"equal, {m}, paired": (_differ(True, m), BOTH) for m in NOISES}
        | {f"equal, {m}, unpaired": (_differ(False, m), BOTH) for m in NOISES}
        | {"equal, random walk, paired, a walk shared by the pair": (_differ(True, "random walk", shared=1.0), BOTH)}
        | {
            f"equal, {m}, {n} against 8 with a third of the spread": (_differ_in_spread(m, (n, 8)), BOTH)
            for m in ("white", "random walk")
            for n in (2, 6)
        },
        {
            "six intervals 2 sd lower, white, paired": (_differ(True, "white", 2.0), SUPPORTED),
            "six intervals 2 sd lower, white, unpaired": (_differ(False, "white", 2.0), SUPPORTED),
            "2 sd lower throughout, white, 6 against 8 with a third of the spread": (
                _differ_in_spread("white", (6, 8), 2.0),
                SUPPORTED,
            ),
        },
    ),
    "time to target": Kind(
        {
            f"equal, {words}, {'paired' if paired else 'log-rank'}": (_sooner(paired, end), BOTH)
            for end, words in ((10.0, "all reach it"), (1.1, "a third censored"))
            for paired in (True, False)
        },
        {
            "half as many tokens, a third censored, paired": (_sooner(True, 1.1, 0.5), SUPPORTED),
            "half as many tokens, a third censored, log-rank": (_sooner(False, 1.1, 0.5), SUPPORTED),
        },
    ),
    "volatility": Kind(
        {
            f"{shape}, {words}": (_volatility(curve_K, phi, shared), BOTH)
            for shape, curve_K in (("smooth fall", SMOOTH_K), ("valley", VALLEY_K))
            for words, phi, shared in (("white", 0.0, 0.0), ("AR(0.8)", 0.8, 0.0), ("random walk", 1.0, 0.0))
        },
        {SHAKEN: (_volatility(SMOOTH_K + SHAKEN_K, 0.0), SUPPORTED)},
    ),
    "backslides": Kind(
        {
            "smooth fall": (_backslides(SMOOTH_K), (SUPPORTED,)),
            "valley": (_backslides(VALLEY_K), (SUPPORTED,)),
        },
        {SHAKEN: (_backslides(SMOOTH_K + SHAKEN_K), SUPPORTED)},
    ),
    "stable phase": Kind(
        {"smooth fall": (_stable_phase(SMOOTH_K), (SUPPORTED,))},
        {SHAKEN: (_stable_phase(SMOOTH_K + SHAKEN_K), SUPPORTED)},
    ),
}
