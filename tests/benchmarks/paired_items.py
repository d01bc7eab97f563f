"""How often the paired tests of single questions are wrong, and what pairing is worth: the tables of docs/task_items.md.

    python -m tests.benchmarks.paired_items [--sets 1000]

Planted: questions whose difficulty both models share, and item noise that is each model's own. The unpaired z test stands
beside as what it is compared with; the analysis doesn't offer it.
"""

import argparse
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from trajlab.analysis.task_items import agreement, emergence, fit_link, mcnemar, paired_permutation
from trajlab.analysis.token_trends.chance import ar1

DIFFICULTY = 1.5
"""Sd of the questions' difficulty in sds of a model's own item noise."""


def two_models(rng: np.random.Generator, questions: int, better: float = 0.0) -> tuple[np.ndarray, ...]:
    """Right or wrong, and bits per byte, of two models that share the questions' difficulty; the second is ``better``."""
    difficulty = DIFFICULTY * rng.standard_normal(questions)
    margins = [ability - difficulty + rng.standard_normal(questions) for ability in (0.5, 0.5 + better)]
    right = [(m > 0).astype(float) for m in margins]
    return (*right, *(np.log2(1 + np.exp(-m)) + 0.5 for m in margins))


def _named(names: Sequence[str], values: Iterable[float]) -> dict[str, float]:
    return {n: round(float(v), 1) for n, v in zip(names, values, strict=True)}


def unpaired(first: np.ndarray, second: np.ndarray) -> float:
    """p of the z test that takes the two accuracies for independent samples."""
    error = np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return float(2 * stats.norm.sf(abs(second.mean() - first.mean()) / error)) if error else 1.0


def rejected(sets: int, questions: int, better: float, seed: int = 0) -> dict[str, float]:
    """Percent of data sets with p ≤ .05 by each test, and with the true difference inside McNemar's interval."""
    rng = np.random.default_rng(seed)
    big = two_models(np.random.default_rng(99), 400_000, better)
    truth = float((big[1] - big[0]).mean())
    found = []
    for number in range(sets):
        a, b, bits_a, bits_b = two_models(rng, questions, better)
        exact = mcnemar(a, b)
        flips = paired_permutation(bits_a, bits_b, n_resamples=999, seed=number)
        right = paired_permutation(a, b, n_resamples=999, seed=number)
        inside = exact.low <= truth <= exact.high
        found.append([exact.p <= 0.05, right.p <= 0.05, flips.p <= 0.05, unpaired(a, b) <= 0.05, inside])
    names = ("McNemar", "sign flips, accuracy", "sign flips, bits", "unpaired z", "interval holds the truth")
    return _named(names, 100 * np.mean(found, axis=0))


def link_errors(sets: int, slope: float, seed: int = 0) -> dict[str, float]:
    """Percent of 95 % intervals that hold the planted slope, item sd and intercept; the mean slope."""
    rng = np.random.default_rng(seed)
    loss, found = np.linspace(2, 5, 12), []
    for _ in range(sets):
        level = 1.2 * rng.standard_normal(200)[:, None]
        p = 0.25 + 0.75 / (1 + np.exp(-(3.5 * -slope + slope * loss + level)))
        fit = fit_link((rng.random(p.shape) < p).astype(float), loss, np.full(200, 0.25))
        table = fit.table().set_index("parameter")
        truth = {"slope": slope, "item sd": 1.2, "intercept": -3.5 * slope}
        row = [table.loc[k, "ci_low"] <= v <= table.loc[k, "ci_high"] for k, v in truth.items()]
        found.append([*row, fit.slope])
    inside = 100 * np.mean([f[:3] for f in found], axis=0)
    return _named(("slope", "item sd", "intercept"), inside) | {"mean": round(float(np.mean([f[3] for f in found])), 3)}


def emergence_rates(sets: int, checkpoints: int, phi: float, shared: float, seed: int = 0) -> dict[str, float]:
    """Percent of trendless questions around the edge that seem to change, and of planted ones found, to one checkpoint."""
    rng = np.random.default_rng(seed)
    false, true, near = [], [], []
    for _ in range(sets):
        noise = ar1(phi, (200, checkpoints), rng) + shared * ar1(phi, (checkpoints,), rng)
        false.append((emergence(noise)["changes"] > 0).mean())
        at = rng.integers(2, checkpoints - 2, 200)
        step = np.where(np.arange(checkpoints) >= at[:, None], 4.0, -4.0)
        found = emergence(noise + step)
        learned = (found["kind"] == "learned").to_numpy()
        true.append(learned.mean())
        near.append((np.abs(found["learned"].to_numpy() - at)[learned] <= 1).mean() if learned.any() else np.nan)
    values = [100 * np.mean(false), 100 * np.mean(true), 100 * np.nanmean(near)]
    return _named(("false", "found", "to one checkpoint"), values)


def kappa_holds(sets: int, shared: bool, seed: int = 0) -> float:
    """Percent of intervals of κ that hold the planted one (0 where the two models share nothing)."""
    rng = np.random.default_rng(seed)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        a, b, *_ = two_models(rng, n)
        return (a, b) if shared else (a, two_models(rng, n)[1])

    truth = agreement(*draw(2_000_000), resamples=10).kappa if shared else 0.0
    found = [agreement(*draw(300), resamples=1000, seed=i) for i in range(sets)]
    return float(round(100 * np.mean([f.low <= truth <= f.high for f in found]), 1))


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=1000)
    sets = parser.parse_args().sets
    for questions in (100, 500):
        for better in (0.0, 0.1, 0.2, 0.3):
            print("paired", questions, better, rejected(sets, questions, better), flush=True)
    for slope in (0.0, -1.0):
        print("link", slope, link_errors(max(sets // 5, 20), slope), flush=True)
    for checkpoints, phi, shared in ((12, 0.3, 0.0), (30, 0.3, 0.0), (30, 0.8, 0.0), (30, 1.0, 0.0), (30, 0.8, 0.5)):
        rates = emergence_rates(max(sets // 20, 5), checkpoints, phi, shared)
        print("emergence", checkpoints, phi, shared, rates, flush=True)
    print("kappa", kappa_holds(sets, False), kappa_holds(sets, True))


if __name__ == "__main__":
    main()
