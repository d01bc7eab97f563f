"""How often each kind of verdict is wrong, and how often it sees what is there: simulated (docs/statistics.md).

Every kind that a `Claim` names in ``check`` has a `Kind` here. Data sets have the shape of the studies: 6 seeds × 21
intervals, 150 tokens in 50 windows × 30 checkpoints, 6 models.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.claims import across_models, averaging, budget, budget_steadiness
from trajlab.analysis.claims.claim import CONTRADICTED, SUPPORTED, mean_claim, placed
from trajlab.analysis.claims.trajectories import smallest_mean_interval
from trajlab.analysis.statistics.calibration import NULL_MODELS
from trajlab.analysis.token_trends import classify_trends
from trajlab.analysis.token_trends.across_sizes import agreement, rise_and_fall
from trajlab.analysis.token_trends.chance import ar1, upward_excess

Simulate = Callable[[np.random.Generator], str]
"""Draws one data set and gives the verdict on it."""
SEEDS, INTERVALS = 6, 21
BOTH = (SUPPORTED, CONTRADICTED)


@dataclass(frozen=True)
class Kind:
    """One kind of verdict: data sets without the effect, with the words that are wrong there, and with it."""

    nulls: Mapping[str, tuple[Simulate, tuple[str, ...]]]
    effect: tuple[str, Simulate, str]
    """What was planted, the simulation, and the right word."""
    replicates: int = 1000
    """Data sets unless asked otherwise; fewer where one costs a tenth of a second."""
    note: str = field(default="")


# ---- seeds


def _mean(shift: float) -> Simulate:
    return lambda rng: mean_claim("", 0.0, rng.standard_normal(SEEDS) + shift, 2.5, "").verdict


def _paired(shift: float, draw: str = "normal") -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        noise_S = rng.standard_normal(SEEDS) if draw == "normal" else rng.standard_t(3, SEEDS)
        return averaging._over_runs("", pd.Series(noise_S + shift)).verdict

    return simulate


def _grid(loss_SK: NDArray[np.float64]) -> pd.DataFrame:
    n, k = loss_SK.shape
    frame = pd.DataFrame({"seed": np.repeat(np.arange(n), k), "interval": np.tile(np.arange(k), n)})
    frame = frame.assign(run=frame["seed"].map("seed={}".format), loss=loss_SK.ravel(), tokens=1000 * frame["interval"])
    return frame.assign(experiment="e", variant="raw", split="valid")


def _effect(model: str, size: float = 0.0) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        y_SK = NULL_MODELS[model]((1, SEEDS, INTERVALS), rng)[0] + size * np.linspace(-1, 1, INTERVALS)
        return budget._effect(_grid(y_SK), "loss", "", 0.05).verdict

    return simulate


def _turn(place: int, noise: str) -> Simulate:
    """A valley at ``place``, judged against one published a fifth into the budget (interval 4)."""

    def simulate(rng: np.random.Generator) -> str:
        e_SK = rng.standard_normal((SEEDS, INTERVALS))
        e_SK = e_SK if noise == "white" else ar1(0.9, (SEEDS, INTERVALS), rng)
        y_SK = 0.3 * np.abs(np.arange(INTERVALS) - place) + 0.5 * e_SK
        return budget._turn(_grid(y_SK), np.linspace(0, 1, INTERVALS)).verdict

    return simulate


SMOOTH_K = 2.5 + 5.5 * np.exp(-0.6 * np.arange(INTERVALS)) - 0.004 * np.arange(INTERVALS)
VALLEY_K = np.interp(np.arange(INTERVALS), [0, 1, 2, 4, INTERVALS - 1], [8.36, 3.6, 3.05, 2.8, 3.9])
SHAKEN_K = np.where((np.arange(INTERVALS) % 2 == 1) & (np.arange(INTERVALS) > 8), 0.1, 0.0)


def _stored(loss_SK: NDArray[np.float64], error: float, rng: np.random.Generator) -> pd.DataFrame:
    """Table `intervals` with windows whose measurement error of each loss is ``error``, shared by all seeds."""
    n, k = loss_SK.shape
    text_KW = rng.standard_normal((k, 32)) * error * np.sqrt(32)
    measured_SK = loss_SK + text_KW.mean(1)
    frame = _grid(measured_SK)
    windows = 100 * (loss_SK[:, :, None] + text_KW)
    return frame.assign(token_count=3200, window_nll=list(windows.reshape(n * k, -1)), ppl=np.exp(frame["loss"]))


def _steady(judge: str, curve_K: NDArray[np.float64], noise: str) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        if noise == "text":
            frame = _stored(np.tile(curve_K, (SEEDS, 1)) + 0.003 * rng.standard_normal((SEEDS, 1)), 0.002, rng)
        else:
            phi = {"white": 0.0, "AR": 0.8, "walk": 1.0}[noise]
            frame = _grid(curve_K + 0.005 * ar1(phi, (SEEDS, INTERVALS), rng))
        return getattr(budget_steadiness, judge)(frame).verdict

    return simulate


# ---- tokens and models

WINDOWS_M = np.arange(150) // 3


def _upward(phi: float, shared: float, rising: float = 0.0) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        nll_MC = 3 + 0.1 * ar1(phi, (150, 30), rng) + 0.1 * shared * ar1(phi, (30,), rng)
        nll_MC[: int(150 * rising)] += np.linspace(0, 1, 30)
        found = upward_excess(nll_MC, WINDOWS_M, draws=60, seed=int(rng.integers(2**31)))
        return placed(found.low, found.high, (0.0, np.inf))

    return simulate


def _descent(bump: float, slope: float, shared: float = 0.0) -> Simulate:
    """The small model's noise selects tokens; in the large one some rise by ``bump`` and fall again, all move by ``slope``."""

    def simulate(rng: np.random.Generator) -> str:
        u = np.linspace(0, 1, 30)
        tent_C = bump * (1 - np.abs(2 * u - 1))
        odd_M = np.arange(150) < 40
        small = 3 + 0.1 * rng.standard_normal((150, 30)) + (bump > 0) * np.outer(odd_M, u)
        large = 3 + slope * u + np.outer(odd_M, tent_C) + 0.1 * rng.standard_normal((150, 30))
        large += shared * 0.1 * rng.standard_normal(30)
        selected = (classify_trends(small)["trend"] == "upward").to_numpy()
        if not selected.any():
            return "not testable"
        parts = rise_and_fall(large, selected, 0, 15).to_numpy()
        return placed(*smallest_mean_interval(parts, WINDOWS_M[selected]), (0.0, np.inf))

    return simulate


def _agree(common: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        own = [rng.gamma(2.0, 0.7, 150) for _ in range(2)]
        final, there = (common * rng.gamma(2.0, 0.7, 150)[:, None] + np.stack(own, 1)).T
        nearer = agreement(final, there) - agreement(final, there + 0.7)
        return placed(*smallest_mean_interval(nearer[:, None], WINDOWS_M), (0.0, np.inf))

    return simulate


def _r_squared(on_ppl: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        sizes, steps = np.repeat(10.0 ** np.linspace(6, 9, 6), 12), np.tile(np.arange(1, 13), 6)
        level = np.repeat(rng.normal(0, 0.02, 6), 12)  # a model's own accuracy, all its checkpoints
        ppl = 3 + 40 * sizes**-0.1 + 30 / steps + np.repeat(rng.normal(0, 3, 6), 12) ** 2
        value = 0.5 - on_ppl * np.log(ppl) + level + rng.normal(0, 0.01, 72)
        columns = {"model": np.repeat(list("abcdef"), 12), "parameters": sizes, "step": steps, "tokens": 1e6 * steps}
        frame = pd.DataFrame({**columns, "ppl": ppl, "accuracy": value})
        return across_models._gain_claim(frame, "", True).verdict

    return simulate


def _slope(slope: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        x_R = np.log(10.0 ** np.linspace(6, 9, 6))
        loss_RS = (
            6 + slope * x_R[:, None] + rng.normal(0, 0.1, (6, 1)) + rng.normal(0, 0.3, (6, 20)) + rng.normal(0, 0.3, 20)
        )
        return placed(
            *across_models.slope_interval(x_R, loss_RS * 50, np.full((6, 20), 50.0), 200, rng)[1], (0.0, np.inf)
        )

    return simulate


KINDS: dict[str, Kind] = {
    "equal mean": Kind(
        {"mean at the margin": (_mean(2.5), BOTH)}, ("the published mean, margin 2.5 sd", _mean(0.0), SUPPORTED)
    ),
    "paired over seeds": Kind(
        {"no difference, normal": (_paired(0), BOTH), "no difference, t₃": (_paired(0, "t3"), BOTH)},
        ("a difference of 2 sd", _paired(2.0), SUPPORTED),
    ),
    "interval effect": Kind(
        {f"flat, {m}": (_effect(m), BOTH) for m in NULL_MODELS},
        ("slope of ±3 sd, AR(1) with drift", _effect("AR(1) with drift", 3.0), SUPPORTED),
    ),
    "place of the turn": Kind(
        {
            "turn two intervals away, white": (_turn(6, "white"), (SUPPORTED,)),
            "turn two intervals away, AR(0.9)": (_turn(6, "AR"), (SUPPORTED,)),
            "turn where published, AR(0.9)": (_turn(4, "AR"), (CONTRADICTED,)),
        },
        ("turn where published", _turn(4, "white"), SUPPORTED),
    ),
    "volatility": Kind(
        {
            f"{shape}, {noise} noise": (_steady("_volatility", curve, noise), BOTH)
            for shape, curve in (("smooth fall", SMOOTH_K), ("valley", VALLEY_K))
            for noise in ("white", "AR", "walk")
        },
        (
            "every other loss 0.1 higher from interval 9",
            _steady("_volatility", SMOOTH_K + SHAKEN_K, "white"),
            SUPPORTED,
        ),
        replicates=200,
    ),
    "backslides": Kind(
        {
            "smooth fall": (_steady("_backslides", SMOOTH_K, "text"), (SUPPORTED,)),
            "valley": (_steady("_backslides", VALLEY_K, "text"), (SUPPORTED,)),
        },
        ("every other loss 0.1 higher from interval 9", _steady("_backslides", SMOOTH_K + SHAKEN_K, "text"), SUPPORTED),
        replicates=100,
    ),
    "stable phase": Kind(
        {"smooth fall": (_steady("_stable_phase", SMOOTH_K, "text"), (SUPPORTED,))},
        (
            "every other loss 0.1 higher from interval 9",
            _steady("_stable_phase", SMOOTH_K + SHAKEN_K, "text"),
            SUPPORTED,
        ),
        replicates=100,
    ),
    "upward tokens": Kind(
        {
            **{f"trendless, φ = {p:g}": (_upward(p, 0.0), BOTH) for p in (0.0, 0.8, 0.9, 0.95, 1.0)},
            **{f"trendless, φ = {p:g}, shared noise": (_upward(p, 0.5), BOTH) for p in (0.8, 1.0)},
        },
        ("three tokens in ten rise by 1 nat, φ = 0.8", _upward(0.8, 0.0, 0.3), SUPPORTED),
        replicates=100,
    ),
    "double descent": Kind(
        {
            "flat": (_descent(0, 0), BOTH),
            "flat, shared noise": (_descent(0, 0, 1.0), (SUPPORTED,)),
            "everything falls": (_descent(0, -2), (SUPPORTED,)),
        },
        ("the small model's upward tokens rise by 0.3 and fall", _descent(0.3, 0), SUPPORTED),
    ),
    "equal perplexity": Kind(
        {"independent tokens": (_agree(0.0), BOTH)}, ("a common part of equal size", _agree(1.0), SUPPORTED)
    ),
    "R² over models": Kind(
        {"accuracy depends on neither": (_r_squared(0.0), BOTH)},
        ("accuracy falls by 0.3 per unit of ln ppl", _r_squared(0.3), SUPPORTED),
        replicates=100,
    ),
    "slope on size": Kind({"no slope": (_slope(0.0), BOTH)}, ("0.1 nats per unit of ln size", _slope(0.1), SUPPORTED)),
}


def calibrate_verdicts(replicates: int | None = None, kinds: list[str] | None = None, seed: int = 0) -> pd.DataFrame:
    """A row per kind × simulated situation: wrong (share of data sets with a wrong word), or right under the planted effect.

    Columns: verdict (the kind), situation, data_sets, wrong, power. Raises ValueError for an unknown kind.
    """
    if unknown := set(kinds or ()) - set(KINDS):
        raise ValueError(f"unknown kinds of verdict {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    rows = []
    for name in kinds or KINDS:
        kind = KINDS[name]
        n = replicates or kind.replicates
        for situation, (simulate, wrong) in kind.nulls.items():
            words = _words(simulate, n, f"{name}/{situation}", seed)
            rows.append((name, situation, n, sum(w in wrong for w in words) / n, np.nan))
        situation, simulate, right = kind.effect
        words = _words(simulate, n, f"{name}/{situation}", seed)
        rows.append((name, situation, n, np.nan, words.count(right) / n))
    return pd.DataFrame(rows, columns=["verdict", "situation", "data_sets", "wrong", "power"])


def _words(simulate: Simulate, n: int, cell: str, seed: int) -> list[str]:
    rng = np.random.default_rng([seed, *cell.encode()])
    return [simulate(rng) for _ in range(n)]
