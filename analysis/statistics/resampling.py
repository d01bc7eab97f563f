"""Resampling tests: sign flips of whole curves, label permutations, and p values that know their resamples.

Legend: B resamples, S seeds, K intervals.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EXACT_SIGN_FLIPS = 14
"""Largest number of seeds of which all 2ⁿ sign flips are tried."""

CHUNK_CELLS = 2_000_000
"""Cells held at once while permuting: 16 MB of float64."""


class PValue(float):
    """A p value that knows how it came about; everywhere else a plain float."""

    statistic: float
    n_resamples: int
    exact: bool

    def __new__(cls, p: float, statistic: float, n_resamples: int, exact: bool) -> "PValue":
        """``statistic`` is the observed one, ``n_resamples`` how many it was compared with."""
        value = super().__new__(cls, p)
        value.statistic, value.n_resamples, value.exact = statistic, n_resamples, exact
        return value

    @property
    def p(self) -> float:
        """The p value itself."""
        return float(self)

    @property
    def smallest(self) -> float:
        """The smallest p that this test could have given."""
        return 2 / self.n_resamples if self.exact else 1 / (1 + self.n_resamples)

    def table(self) -> pd.DataFrame:
        """One row: p, smallest possible p, statistic, resamples, exact."""
        row = {"p": float(self), "smallest_p": self.smallest, "statistic": self.statistic}
        return pd.DataFrame([{**row, "resamples": self.n_resamples, "exact": self.exact}])


def all_signs(n: int) -> NDArray[np.float64]:
    """Half of the 2ⁿ sign vectors, (2ⁿ⁻¹, n): the first sign is +, since flipping all changes nothing.

    The first row is the identity.
    """
    bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n - 1) & 1
    return np.column_stack([np.ones(len(bits)), 1.0 - 2.0 * bits])


def sign_flip_statistics(gram_SS: NDArray[np.float64], signs_BS: NDArray[np.float64]) -> NDArray[np.float64]:
    """sᵀ G s for each row of signs; ``gram_SS`` may carry leading axes."""
    return np.einsum("bs,...st,bt->...b", signs_BS, gram_SS, signs_BS, optimize=True)


def share_at_least(null_B: NDArray[np.float64], observed: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """How many of the last axis reach ``observed``; equal up to rounding counts as equal."""
    observed = np.asarray(observed)[..., None]
    return np.asarray((null_B >= observed - 1e-10 * np.abs(observed)).mean(-1))


def permuted_effects(
    y_SK: NDArray[np.float64], n_permutations: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Σ_t (mean over seeds)² after shuffling the intervals within each seed, in chunks.

    For a fixed grid it rises with F: a permutation within seeds changes neither SS_total nor SS_subject.
    """
    n, k = y_SK.shape
    size = max(1, CHUNK_CELLS // (n * k))
    for start in range(0, n_permutations, size):
        chunk_BSK = np.broadcast_to(y_SK, (min(size, n_permutations - start), n, k)).copy()
        rng.permuted(chunk_BSK, axis=-1, out=chunk_BSK)
        yield np.square(chunk_BSK.mean(1)).sum(-1)
