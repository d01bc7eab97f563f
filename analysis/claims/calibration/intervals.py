"""Coverage of every 95 % interval that a report prints: 6 seeds, 21 intervals, unless a row says otherwise."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trajlab.analysis.averaging_gain import first_reached
from trajlab.analysis.claims.calibration.kinds import INTERVALS, NOISES, SEEDS, Cover, Interval, noise
from trajlab.analysis.claims.claim import mean_interval
from trajlab.analysis.contrasts import bootstrap_interval, hedges_g_av
from trajlab.analysis.diminishing_returns import place_interval
from trajlab.analysis.position_law import fit_position_law, hyperbola
from trajlab.analysis.statistics.cross_fitting import cross_fitted
from trajlab.analysis.statistics.eta_squared import eta_squared_interval
from trajlab.analysis.statistics.max_t import paired_max_t, unpaired_max_t
from trajlab.analysis.statistics.sums_of_squares import decompose
from trajlab.analysis.statistics.text_errors import crossed_interval, window_errors
from trajlab.analysis.statistics.variance_components import components_of
from trajlab.analysis.target_times import median_with_interval, paired_difference, welch_difference
from trajlab.analysis.temporal_law import fit_temporal_law
from trajlab.analysis.turning_point import turn_of

K_K = np.arange(INTERVALS)
VALLEY_K = np.abs(K_K - 8) / 2.0
"""A turn at interval 8: half a seed's sd per interval."""


def _holds(interval: tuple[float, float], truth: float) -> bool:
    return bool(interval[0] <= truth <= interval[1])


def _mean(draw: str) -> Cover:
    def cover(rng: np.random.Generator) -> bool:
        values_S = rng.standard_normal(SEEDS) if draw == "normal" else rng.standard_t(3, SEEDS)
        return _holds(mean_interval(values_S), 0.0)

    return cover


def _best_loss(curve_K: NDArray[np.floating] | float, model: str, seeds: int = SEEDS) -> Cover:
    """Against the mean curve's lowest value."""

    def cover(rng: np.random.Generator) -> bool:
        y_SK = curve_K + noise(model, (seeds, INTERVALS), rng)
        return _holds(cross_fitted(y_SK)[1:], 0.0)

    return cover


def _rise(curve_K: NDArray[np.floating], model: str, seeds: int = SEEDS) -> Cover:
    def cover(rng: np.random.Generator) -> bool:
        y_SK = curve_K + noise(model, (seeds, INTERVALS), rng)
        return _holds(cross_fitted(y_SK, -1)[1:], float(curve_K[-1] - curve_K.min()))

    return cover


def _place(model: str, *, by_set: bool) -> Cover:
    def cover(rng: np.random.Generator) -> bool:
        y_SK = VALLEY_K + noise(model, (SEEDS, INTERVALS), rng)
        return 8 in turn_of(y_SK).confidence_set if by_set else _holds(place_interval(y_SK, n_bootstrap=500), 8)

    return cover


def _hedges(delta: float, correlation: float, seeds: int = SEEDS) -> Cover:
    def cover(rng: np.random.Generator) -> bool:
        shared, *own = rng.standard_normal((3, seeds))
        a, b = (np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * e for e in own)
        return _holds(hedges_g_av(a, b + delta)[1:], delta)

    return cover


def _bootstrap(draw: str, seeds: int) -> Cover:
    def cover(rng: np.random.Generator) -> bool:
        values_S = rng.standard_normal(seeds) if draw == "normal" else rng.standard_t(3, seeds)
        return _holds(bootstrap_interval(values_S, rng.integers(0, seeds, (2000, seeds))), 0.0)

    return cover


@lru_cache
def _population(model: str, size: float) -> tuple[NDArray[np.float64], float, float]:
    """A valley of rms ``size``, and the population's partial and generalised η² with seeds' own levels of sd 2."""
    bend_K = np.linspace(-1, 1, INTERVALS) ** 2
    curve_K = size * (bend_K - bend_K.mean()) / bend_K.std()
    rng = np.random.default_rng(0)
    many = decompose(noise(model, (1, 20_000, INTERVALS), rng) + 2 * rng.standard_normal((1, 20_000, 1)))
    effect = float(np.square(curve_K).sum())
    error, seed = (float(part[0]) / 19_999 for part in (many.error_B, many.subject_B))
    return curve_K, effect / (effect + error), effect / (effect + error + seed)


def _eta(model: str, size: float, *, generalized: bool) -> Cover:
    def cover(rng: np.random.Generator) -> bool:
        curve_K, *truth = _population(model, size)
        y_SK = noise(model, (SEEDS, INTERVALS), rng) + 2 * rng.standard_normal((SEEDS, 1)) + curve_K
        return _holds(eta_squared_interval(y_SK, generalized=generalized, n_resamples=1000), truth[int(generalized)])

    return cover


def _band(kind: str, model: str, seeds: int = SEEDS) -> Cover:
    """Whether the band holds the whole curve of means, which is 0."""

    def cover(rng: np.random.Generator) -> bool:
        a_SK, b_SK = noise(model, (2, seeds, INTERVALS), rng)
        if kind == "mean":
            found = paired_max_t(a_SK - a_SK.mean(0))
            return bool((np.abs(a_SK.mean(0)) <= found.critical * found.error_K).all())
        found = paired_max_t(b_SK - a_SK) if kind == "paired" else unpaired_max_t(a_SK, b_SK, n_resamples=499)
        return bool((np.abs(found.difference_K) <= found.critical * found.error_K).all())

    return cover


def _crossed(seed_sd: float) -> Cover:
    def cover(rng: np.random.Generator) -> bool:
        y_SW = seed_sd * rng.standard_normal((SEEDS, 1)) + rng.standard_normal(40) + rng.standard_normal((SEEDS, 40))
        found = crossed_interval(y_SW)
        return _holds((found.low, found.high), 0.0)

    return cover


def _crossed_difference(seed_sd: float) -> Cover:
    """Of five intervals at once, as `compare_on_other_text` takes them: two conditions' windows differ by noise alone."""

    def cover(rng: np.random.Generator) -> bool:
        of_seed, of_text = seed_sd * rng.standard_normal((5, SEEDS, 1)), 0.3 * rng.standard_normal((5, 1, 40))
        for y_SW in of_seed + of_text + rng.standard_normal((5, SEEDS, 40)):
            found = crossed_interval(y_SW, level=0.99)
            if not _holds((found.low, found.high), 0.0):
                return False
        return True

    return cover


def _two_errors(overlap: int) -> Cover:
    """One change among the 20 of a curve, on 100 windows of which ``overlap`` in a row share text."""

    def cover(rng: np.random.Generator) -> bool:
        text_DW = rng.standard_normal((20, 100 + overlap - 1))
        change_DW = np.lib.stride_tricks.sliding_window_view(text_DW, 100, axis=1).mean(1)
        return bool(abs(change_DW[0].mean()) <= 2 * window_errors(change_DW, overlap)[0])

    return cover


def _component(levels: int, source: int) -> Cover:
    def cover(rng: np.random.Generator) -> bool:
        y = 0.3 * rng.standard_normal((levels, 1)) + 0.1 * rng.standard_normal(levels)
        table = components_of(y + 0.1 * rng.standard_normal((levels, levels)), ("init", "order"), n_draws=1000)
        return _holds((table["low"][source], table["high"][source]), (0.09, 0.01, 0.01)[source])

    return cover


def _median(runs: int, end: float) -> Cover:
    """Lognormal times with median 1; an end that never comes is an open end."""

    def cover(rng: np.random.Generator) -> bool:
        time_S = np.exp(0.3 * rng.standard_normal(runs))
        _, low, high = median_with_interval(np.minimum(time_S, end), time_S <= end)
        return not (low > 1 or high < 1)

    return cover


def _restricted(end: float, *, paired: bool) -> Cover:
    def cover(rng: np.random.Generator) -> bool:
        a_S, b_S = np.minimum(np.exp(0.3 * rng.standard_normal((2, SEEDS))), end)
        found = paired_difference(b_S - a_S) if paired else welch_difference(a_S, b_S)
        return _holds(found[1:], 0.0)

    return cover


def _saved(model: str) -> Cover:
    """Tokens saved to a target by a curve that is two intervals ahead; noise of a twentieth of an interval's fall."""

    def cover(rng: np.random.Generator) -> bool:
        raw_SK, own_SK = 0.05 * noise(model, (2, SEEDS, INTERVALS), rng) - K_K + np.array([0.0, -2.0])[:, None, None]
        x_K = K_K.astype(float)
        saved = [
            first_reached(x_K, r, -10.0) - first_reached(x_K, o, -10.0) for r, o in zip(raw_SK, own_SK, strict=True)
        ]
        return _holds(mean_interval(np.array(saved)), 2.0)

    return cover


LAW_QP = {"a0": (0.25, 1.8), "a1": (0.15, 0.4, 0.05), "a2": (2.5, 0.3, 2.0)}
"""Coefficients of a temporal law, per million tokens."""


def _coefficient(model: str) -> Cover:
    """Two standard errors around one of its coefficients, each as often: 40 checkpoints whose positions share their noise."""
    n_K, positions_P = np.linspace(0.5, 20, 40), np.arange(1.0, 33)
    (a, b), *others = LAW_QP.values()
    a1_K, a2_K = (x / (1 + y * n_K) + z for x, y, z in others)
    truth_KP, truth_Q = hyperbola(a * np.log(n_K) + b, a1_K, a2_K, positions_P), np.concatenate(list(LAW_QP.values()))

    def cover(rng: np.random.Generator) -> bool:
        noise_KP = 0.01 * noise(model, (1, 40), rng).T + 0.003 * rng.standard_normal(truth_KP.shape)
        table = fit_temporal_law(fit_position_law(truth_KP + noise_KP), n_K * 1e6).table()
        chosen = int(rng.integers(len(truth_Q)))
        return bool(abs(table["value"][chosen] - truth_Q[chosen]) <= 2 * table["stderr"][chosen])

    return cover


ANY_MEAN = (
    "averaging_gain/over_runs",
    "claims/claim",
    "contrasts",
    "figures/curves",
    "figures/overview",
    "report/comparison",
    "report/summary",
    "stability",
)

COVERAGE = {
    "mean over seeds": Interval({f"{d} values": _mean(d) for d in ("normal", "t₃")}, ANY_MEAN),
    "best loss": Interval(
        {f"flat, {m}": _best_loss(0.0, m) for m in NOISES[:2]}
        | {f"flat, white, {n} seeds": _best_loss(0.0, "white", n) for n in (3, 10)}
        | {
            f"a valley of {size:g} sd per interval, white": _best_loss(2 * size * VALLEY_K, "white")
            for size in (0.5, 2)
        },
        ("report/comparison", "report/summary", "statistics/cross_fitting"),
    ),
    "rise to the end": Interval(
        {f"flat, {m}": _rise(0.0 * K_K, m) for m in NOISES[:2]}
        | {f"flat, white, {n} seeds": _rise(0.0 * K_K, "white", n) for n in (3, 10)}
        | {f"a valley of {size:g} sd per interval, white": _rise(2 * size * VALLEY_K, "white") for size in (0.5, 2)},
        ("report/summary", "statistics/cross_fitting", "turning_point"),
    ),
    "set of lowest intervals": Interval({m: _place(m, by_set=True) for m in NOISES}, ("turning_point",)),
    "place of the lowest loss": Interval({m: _place(m, by_set=False) for m in NOISES}, ("diminishing_returns",)),
    "bootstrap of a contrast": Interval(
        {f"{d} values, {n} seeds": _bootstrap(d, n) for d in ("normal", "t₃") for n in (4, SEEDS, 12)}, ("contrasts",)
    ),
    "Hedges' g_av": Interval(
        {f"δ = {d:g}, ρ = {r:g}": _hedges(d, r) for d, r in ((0, 0), (0, 0.8), (1, 0.5), (30, 0.5))}
        | {"δ = 1, ρ = 0.5, 3 seeds": _hedges(1, 0.5, 3)},
        ("contrasts",),
    ),
    "partial η²": Interval(
        {f"{m}, effect {s:g}": _eta(m, s, generalized=False) for m in NOISES for s in (0.0, 1.0)},
        ("repeated_measures/anova", "statistics/eta_squared"),
    ),
    "generalised η², ICC": Interval(
        {f"{m}, effect {s:g}": _eta(m, s, generalized=True) for m in NOISES for s in (0.0, 1.0)},
        ("repeated_measures/anova", "stability"),
    ),
    "band of a mean curve": Interval(
        {f"{m}, {n} seeds": _band("mean", m, n) for m in NOISES for n in (6, 10)}, ("compare", "statistics/max_t")
    ),
    "band of a difference": Interval(
        {f"{m}, {kind}": _band(kind, m) for m in NOISES for kind in ("paired", "unpaired")},
        ("compare", "report/comparison", "statistics/max_t"),
    ),
    "mean over seeds and text": Interval(
        {f"seeds of {s:g} sd of a window": _crossed(s) for s in (0.0, 0.3)}, ("statistics/text_errors", "stability")
    ),
    "difference over seeds and text": Interval(
        {f"seeds of {s:g} sd of a window": _crossed_difference(s) for s in (0.0, 0.3)}, ("compare",)
    ),
    "two errors of a change": Interval(
        {f"{o} windows share text": _two_errors(o) for o in (1, 4)}, ("stability", "averaging_gain/at_intervals")
    ),
    "variance components": Interval(
        {
            f"{n} × {n}, {what}": _component(n, i)
            for n in (3, 6)
            for i, what in enumerate(("the larger", "the smaller", "the rest"))
        },
        ("statistics/variance_components",),
    ),
    "median tokens to a target": Interval(
        {
            f"{n} runs, {w}": _median(n, end)
            for n in (6, 15)
            for end, w in ((99.0, "all reach it"), (1.2, "a quarter censored"))
        },
        ("target_times",),
    ),
    "difference of restricted means": Interval(
        {
            f"{w}, {'paired' if p else 'Welch'}": _restricted(end, paired=p)
            for end, w in ((99.0, "all reach it"), (1.2, "a quarter censored"))
            for p in (True, False)
        },
        ("target_times",),
    ),
    "two errors of a coefficient": Interval(
        {f"temporal law, {m}": _coefficient(m) for m in NOISES[:2]}, ("temporal_law/law", "position_law/law")
    ),
    "tokens saved": Interval({m: _saved(m) for m in NOISES[:2]}, ("averaging_gain/over_runs",)),
}
"""What is simulated of each kind of interval."""

BY_VERDICT = {
    "claims/across_models": ("R² over models", "slope on size"),
    "claims/budget": ("interval effect", "place of the turn"),
    "claims/budget_steadiness": ("stable phase", "backslides"),
    "claims/averaging": ("paired over seeds",),
    "claims/temporal": ("paired over seeds", "equal mean"),
    "claims/trajectories": ("double descent", "equal perplexity"),
    "token_trends/chance": ("upward tokens",),
}
"""Modules whose intervals are read through a verdict: wrong on either side of its bound as often as the verdict is."""

ELSEWHERE = {
    "curve_laws": "docs/curve_laws.md",
    "forecasting": "docs/forecasting.md",
    "task_items": "docs/task_items.md",
}
"""Folders whose intervals and bands are calibrated with what they belong to, and where."""
