"""Does each test of an interval effect keep its error, and what does it see? Simulated at one's own n and k.

`calibrate` draws grids under a null model, adds an effect or none, runs every test, and counts rejections. Reproducible by
seed. Legend: B replicates, S seeds (n), K intervals (k), P permutations.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from trajlab.analysis.statistics.ar1 import fit_ar1
from trajlab.analysis.statistics.polynomial_trend import any_trend_p, orthogonal_polynomials
from trajlab.analysis.statistics.resampling import EXACT_SIGN_FLIPS, all_signs, share_at_least, sign_flip_statistics
from trajlab.analysis.statistics.sums_of_squares import (
    corrected_p,
    decompose,
    greenhouse_geisser,
    huynh_feldt,
    sign_flip_gram,
)

CHUNK_CELLS = 4_000_000
"""Cells held at once."""


def white_noise(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Independent errors: sphericity holds, intervals are exchangeable."""
    return rng.standard_normal(shape)


def random_walk(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Sums of independent steps: each seed wanders, the mean of all seeds goes nowhere."""
    return rng.standard_normal(shape).cumsum(-1)


def ar1_with_drift(shape: tuple[int, int, int], rng: np.random.Generator, phi: float = 0.8) -> NDArray[np.float64]:
    """Stationary AR(1), φ = 0.8, plus a straight line of each seed's own slope, with mean zero over seeds.

    The line's sd from the middle to the end equals that of the AR(1).
    """
    y_BSK = rng.standard_normal(shape)
    y_BSK[..., 1:] *= np.sqrt(1 - phi**2)
    for t in range(1, shape[-1]):
        y_BSK[..., t] += phi * y_BSK[..., t - 1]
    return y_BSK + rng.standard_normal(shape[:-1])[..., None] * np.linspace(-1, 1, shape[-1])


NULL_MODELS: dict[str, Callable[[tuple[int, int, int], np.random.Generator], NDArray[np.float64]]] = {
    "white noise": white_noise,
    "random walk": random_walk,
    "AR(1) with drift": ar1_with_drift,
}

SHAPES: dict[str, Callable[[int], NDArray[np.float64]]] = {
    "trend": lambda k: np.linspace(-1, 1, k),
    "turn": lambda k: orthogonal_polynomials(k, 2)[:, 1] if k > 2 else np.linspace(-1, 1, k),
    "one interval": lambda k: np.eye(k)[k // 2] - 1 / k,
}
"""Effects that all seeds share: a straight line, a valley, a single interval off."""


def effect_curve(shape: str, size: float, noise_BSK: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shape with an rms of ``size`` times the rms of the noise around each seed's own mean."""
    curve_K = SHAPES[shape](noise_BSK.shape[-1])
    rms = np.sqrt(np.square(noise_BSK - noise_BSK.mean(-1, keepdims=True)).mean())
    return size * rms * curve_K / np.sqrt(np.square(curve_K).mean())


def interval_tests(
    y_BSK: NDArray[np.float64], rng: np.random.Generator, *, n_permutations: int = 499
) -> dict[str, NDArray[np.float64]]:
    """p of every test of an interval effect, for each grid. The tests of `trajlab.analysis.repeated_measures`, vectorised.

    Tests that n and k don't allow (Huynh–Feldt with two seeds, AR(1) with two intervals) are left out.
    """
    n, k = y_BSK.shape[-2:]
    f_B, eps_B = decompose(y_BSK).f_B, greenhouse_geisser(y_BSK)
    p = {
        "uncorrected": corrected_p(f_B, 1.0, n, k),
        "Greenhouse–Geisser": corrected_p(f_B, eps_B, n, k),
        "lower bound": corrected_p(f_B, 1 / (k - 1), n, k),
        "sign flip": _sign_flip(y_BSK, rng),
        "label permutation": _label_permutation(y_BSK, rng, n_permutations),
        "Friedman": _friedman(y_BSK),
    }
    if n > 2 or k == 2:
        p["Huynh–Feldt"] = corrected_p(f_B, huynh_feldt(eps_B, n, k), n, k)
    p["linear and quadratic trend"] = any_trend_p(y_BSK, min(2, k - 1))
    if k > 2:
        p["mixed model, AR(1)"] = stats.f.sf(fit_ar1(y_BSK, steps=6).f_B, k - 1, (n - 1) * (k - 1))
    return p


def _sign_flip(y_BSK: NDArray[np.float64], rng: np.random.Generator, n_resamples: int = 999) -> NDArray[np.float64]:
    gram_BSS, n = sign_flip_gram(y_BSK), y_BSK.shape[-2]
    observed_B = gram_BSS.sum((-2, -1))
    if n <= EXACT_SIGN_FLIPS:
        return share_at_least(sign_flip_statistics(gram_BSS, all_signs(n)), observed_B)
    signs = rng.choice([-1.0, 1.0], (n_resamples, n))
    share_B = share_at_least(sign_flip_statistics(gram_BSS, signs), observed_B)
    return np.asarray((1 + share_B * n_resamples) / (1 + n_resamples))


def _label_permutation(
    y_BSK: NDArray[np.float64], rng: np.random.Generator, n_permutations: int
) -> NDArray[np.float64]:
    """The grids of a chunk share their permutations: each p is as valid, and drawing them is what costs."""
    n, k = y_BSK.shape[-2:]
    centred_BSK = y_BSK - y_BSK.mean(-1, keepdims=True)
    observed_B = np.square(centred_BSK.mean(-2)).sum(-1)
    size = max(1, CHUNK_CELLS // (n_permutations * n * k))
    share = []
    for i in range(0, len(y_BSK), size):
        order_PSK = rng.permuted(np.broadcast_to(np.arange(k), (n_permutations, n, k)).copy(), axis=-1)
        mean_BPK = sum(centred_BSK[i : i + size, s][:, order_PSK[:, s]] for s in range(n)) / n
        share.append(share_at_least(np.square(mean_BPK).sum(-1), observed_B[i : i + size]))
    return (1 + np.concatenate(share) * n_permutations) / (1 + n_permutations)


def _friedman(y_BSK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without ties, as simulated data are."""
    n, k = y_BSK.shape[-2:]
    ranks_BK = (y_BSK.argsort(-1).argsort(-1) + 1).sum(-2)
    chi2_B = 12 / (n * k * (k + 1)) * np.square(ranks_BK).sum(-1) - 3 * n * (k + 1)
    return np.asarray(stats.chi2.sf(chi2_B, k - 1))


def calibrate(
    n: int = 6,
    k: int = 21,
    *,
    replicates: int = 2000,
    effects: Sequence[float] = (0.25, 0.5, 1.0),
    shapes: Sequence[str] = tuple(SHAPES),
    models: Sequence[str] = tuple(NULL_MODELS),
    alpha: float = 0.05,
    n_permutations: int = 499,
    seed: int = 0,
) -> pd.DataFrame:
    """False-positive rate and power of each test for ``n`` seeds and ``k`` intervals.

    A row per model × effect × size × test: rejected (share of replicates with p ≤ alpha), ci_low, ci_high
    (Clopper–Pearson, 95 %), replicates, n, k, alpha. Effect "none" (size 0) is the false-positive rate. Sizes are the rms of
    the shared effect over that of the noise around each seed's mean. Every cell has its own stream of random numbers, a
    function of ``seed`` and the cell's name alone.

    Raises ValueError for fewer than two seeds or intervals, no replicates, or an unknown model or shape.
    """
    _check(n, k, replicates, models, shapes)
    rows = []
    for model in models:
        for shape, size in [("none", 0.0), *((s, e) for s in shapes for e in effects if e > 0)]:
            rng = np.random.default_rng([seed, *f"{model}/{shape}/{size}".encode()])
            hits = _rejections(model, shape, size, (replicates, n, k), rng, alpha, n_permutations)
            for test, count in hits.items():
                cell = {"model": model, "effect": shape, "size": size, "test": test, "rejected": count / replicates}
                rows.append(cell | _clopper_pearson(count, replicates))
    return pd.DataFrame(rows).assign(replicates=replicates, n=n, k=k, alpha=alpha)


def _check(n: int, k: int, replicates: int, models: Sequence[str], shapes: Sequence[str]) -> None:
    if n < 2 or k < 2:
        raise ValueError(f"{n} seeds and {k} intervals: at least two of each are needed")
    if replicates < 1:
        raise ValueError(f"replicates={replicates}: at least 1")
    for given, known in ((models, NULL_MODELS), (shapes, SHAPES)):
        unknown = [x for x in given if x not in known]
        if unknown:
            raise ValueError(f"unknown {', '.join(unknown)}; there are {', '.join(known)}")


def _rejections(
    model: str,
    shape: str,
    size: float,
    grids: tuple[int, int, int],
    rng: np.random.Generator,
    alpha: float,
    n_permutations: int,
) -> dict[str, int]:
    hits: dict[str, int] = {}
    for chunk in _chunks(*grids):
        y_BSK = NULL_MODELS[model](chunk, rng)
        if size:
            y_BSK = y_BSK + effect_curve(shape, size, y_BSK)
        for test, p_B in interval_tests(y_BSK, rng, n_permutations=n_permutations).items():
            hits[test] = hits.get(test, 0) + int((p_B <= alpha + 1e-12).sum())
    return hits


def _chunks(replicates: int, n: int, k: int) -> Iterator[tuple[int, int, int]]:
    size = min(replicates, max(1, CHUNK_CELLS // (8 * n * k)))
    for start in range(0, replicates, size):
        yield min(size, replicates - start), n, k


def _clopper_pearson(count: int, trials: int) -> dict[str, float]:
    low, high = stats.binomtest(count, trials).proportion_ci(0.95, method="exact")
    return {"ci_low": float(low), "ci_high": float(high)}


def false_positives(calibration: pd.DataFrame) -> pd.DataFrame:
    """The null rows of `calibrate` as test × model, worst first in percent."""
    null = calibration[calibration["effect"] == "none"]
    table = 100 * null.set_index(["test", "model"])["rejected"].unstack()  # noqa: PD010 - one row per cell
    order = table.max(axis=1).sort_values(ascending=False).index
    return table.loc[order].reset_index().rename_axis(columns=None)


def seeds_for_power(
    seeds: Sequence[int] = (3, 4, 6, 8, 12, 16),
    k: int = 21,
    *,
    model: str = "random walk",
    shape: str = "trend",
    size: float = 1.0,
    replicates: int = 1000,
    seed: int = 0,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Power of each test of an interval effect against the number of seeds: test, n, rejected, with its interval."""
    tables = [
        calibrate(
            n,
            k,
            replicates=replicates,
            effects=(size,),
            shapes=(shape,),
            models=(model,),
            seed=seed,
            alpha=alpha,
            n_permutations=99,
        )
        for n in seeds
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[table["effect"] != "none"].reset_index(drop=True)
