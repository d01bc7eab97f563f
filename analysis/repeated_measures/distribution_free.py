"""Tests of an interval effect that ask for no normal distribution: sign flips, label permutation, Friedman."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import pingouin as pg

from trajlab.analysis.statistics.grids import complete_grid, long_frame
from trajlab.analysis.statistics.resampling import (
    EXACT_SIGN_FLIPS,
    PValue,
    all_signs,
    permuted_effects,
    share_at_least,
    sign_flip_statistics,
)
from trajlab.analysis.statistics.sums_of_squares import decompose, sign_flip_gram


def sign_flip_test(
    frame: pd.DataFrame, dv: str, within: str, subject: str, *, n_resamples: int = 9999, seed: int = 0
) -> PValue:
    """p of Σ_t (mean centred curve)² under flips of whole curves (docs/methods.md §2).

    Each seed's curve is centred on its own mean; if there is no interval effect and errors are symmetric, it could as well
    have come with the other sign. Whole curves flip, so autocorrelation within a seed doesn't matter. All 2ⁿ flips up to
    14 seeds (the smallest p is 2/2ⁿ: 0.031 at six seeds, above .05 below six), ``n_resamples`` seeded draws above. Of two
    curves or more; raises ValueError as `rm_anova` does, except that constant data are fine: p = 1.
    """
    y_SK = complete_grid(frame, dv, within, subject).to_numpy()
    n = len(y_SK)
    gram_SS = sign_flip_gram(y_SK - y_SK.mean())
    observed = float(gram_SS.sum())
    if n <= EXACT_SIGN_FLIPS:
        null_B = sign_flip_statistics(gram_SS, all_signs(n))
        return PValue(float(share_at_least(null_B, observed)), observed / n**2, 2**n, exact=True)
    signs_BS = np.random.default_rng(seed).choice([-1.0, 1.0], (n_resamples, n))
    reached = float(share_at_least(sign_flip_statistics(gram_SS, signs_BS), observed)) * n_resamples
    return PValue((1 + reached) / (1 + n_resamples), observed / n**2, n_resamples, exact=False)


def permutation_test(
    frame: pd.DataFrame, dv: str, within: str, subject: str, n_permutations: int = 9999, seed: int = 0
) -> PValue:
    """p = (1 + #≥)/(1 + B) of F under shuffling the interval labels within each seed.

    WARNING: it assumes exchangeable intervals. Neighbouring intervals of a training curve resemble each other, so they are
    not: on random walks without any effect, 6 seeds × 21 intervals, it rejects about one time in five. Read
    `sign_flip_test` instead; this one is here because it is often asked for. Raises ValueError as `rm_anova` does.
    """
    y_SK = complete_grid(frame, dv, within, subject).to_numpy()
    y_SK = y_SK - y_SK.mean(1, keepdims=True)
    observed = float(np.square(y_SK.mean(0)).sum())
    rng = np.random.default_rng(seed)
    chunks = permuted_effects(y_SK, n_permutations, rng)
    reached = sum(float(share_at_least(chunk_B, observed)) * len(chunk_B) for chunk_B in chunks)
    f = float(decompose(y_SK[None]).f_B[0])
    return PValue((1 + round(reached)) / (1 + n_permutations), f, n_permutations, exact=False)


@dataclass(frozen=True)
class Friedman:
    """Friedman's rank test; assumes exchangeable intervals, as the label permutation does."""

    chi2: float
    df: int
    p: float
    kendall_w: float
    """Kendall's W in [0, 1]: do the seeds rank the intervals alike?"""

    def table(self) -> pd.DataFrame:
        """One row."""
        return pd.DataFrame([asdict(self)])


def friedman(frame: pd.DataFrame, dv: str, within: str, subject: str) -> Friedman:
    """Friedman's χ² with Kendall's W = χ²/(n(k − 1)), ties corrected. Raises ValueError as `rm_anova` does."""
    grid = complete_grid(frame, dv, within, subject)
    if (grid.max(axis=1) == grid.min(axis=1)).all():
        raise ValueError("every subject is constant over the levels: there is nothing to rank")
    row = pg.friedman(long_frame(grid.to_numpy()), dv="dv", within="within", subject="subject").iloc[0]
    return Friedman(float(row["Q"]), int(row["ddof1"]), float(row["p_unc"]), float(row["W"]))
