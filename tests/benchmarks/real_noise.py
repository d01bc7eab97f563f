"""Halves of identical real runs: how often does each recommended comparison call them different?

    python tests/benchmarks/real_noise.py <folder>/trajectories/speedrun_seeds.parquet [splits per group]

Of each group of runs with identical code two sets of 3, 5 and 10 are drawn without replacement, again and again. A row per
comparison and size: splits and the share with p ≤ .05. Numbers: docs/statistics.md.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from trajlab.analysis.statistics.max_t import paired_max_t, unpaired_max_t
from trajlab.analysis.statistics.polynomial_trend import any_trend_p
from trajlab.analysis.statistics.resampling import all_signs, share_at_least, sign_flip_statistics
from trajlab.analysis.statistics.sums_of_squares import corrected_p, decompose, greenhouse_geisser, sign_flip_gram

SIZES = (3, 5, 10)


def groups(path: Path) -> Iterator[NDArray[np.float64]]:
    """Runs × evaluations of each group, without the initial row, where all runs were evaluated."""
    table = pd.read_parquet(path)
    for _, own in table[table["step"] > 0].groupby("group"):
        yield own.pivot_table("val_loss", "run", "step").dropna(axis=1).to_numpy()


def p_values(a_SK: NDArray[np.float64], b_SK: NDArray[np.float64]) -> dict[str, float]:
    """p of every recommended comparison of two sets; the paired ones pair at random, as identical runs allow."""
    n, k = a_SK.shape
    d_SK = a_SK - b_SK
    gram_SS = sign_flip_gram(d_SK)
    flips = float(share_at_least(sign_flip_statistics(gram_SS, all_signs(n)), gram_SS.sum()))
    f, eps = decompose(d_SK[None]).f_B, greenhouse_geisser(d_SK[None])
    return {
        "compare, unpaired": unpaired_max_t(a_SK, b_SK, n_resamples=499).p,
        "compare, paired": paired_max_t(d_SK).p,
        "t test of the last loss": float(stats.ttest_ind(a_SK[:, -1], b_SK[:, -1]).pvalue),
        "t test of the mean loss": float(stats.ttest_ind(a_SK.mean(1), b_SK.mean(1)).pvalue),
        "condition × interval, Greenhouse–Geisser": float(corrected_p(f, eps, n, k)[0]),
        "condition × interval, sign flip": flips,
        "condition × interval, trend": float(any_trend_p(d_SK[None], 2)[0]),
    }


def main(path: Path, splits: int) -> None:
    """Print the table."""
    rng, rows = np.random.default_rng(0), []
    for y_SK in groups(path):
        for size in SIZES:
            for _ in range(splits if len(y_SK) >= 2 * size else 0):
                order = rng.permutation(len(y_SK))
                found = p_values(y_SK[order[:size]], y_SK[order[size : 2 * size]])
                rows += [{"comparison": name, "runs a side": size, "called": p <= 0.05} for name, p in found.items()]
    table = pd.DataFrame(rows).groupby(["comparison", "runs a side"])["called"].agg(["size", "mean"])
    print((table.assign(mean=100 * table["mean"])).round(2).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
