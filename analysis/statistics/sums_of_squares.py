"""Sums of squares and sphericity of complete grids, many at once.

Legend: B grids (replicates, bootstrap resamples), S seeds (n of them), K intervals (k of them). The single-table test in
`trajlab.analysis.repeated_measures` goes through pingouin; this is its vectorised twin for resampling and calibration, and a
test holds the two together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class SumsOfSquares:
    """One-way repeated-measures decomposition of each grid."""

    effect_B: NDArray[np.float64]
    subject_B: NDArray[np.float64]
    error_B: NDArray[np.float64]
    n: int
    k: int

    @property
    def f_B(self) -> NDArray[np.float64]:
        """F of the interval effect on k − 1 and (n − 1)(k − 1) degrees of freedom; inf without error, nan without both."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (self.n - 1) * self.effect_B / self.error_B

    @property
    def eta2_partial_B(self) -> NDArray[np.float64]:
        """SS_effect / (SS_effect + SS_error)."""
        with np.errstate(invalid="ignore"):
            return self.effect_B / (self.effect_B + self.error_B)

    @property
    def eta2_generalized_B(self) -> NDArray[np.float64]:
        """SS_effect / SS_total: the only factor is within and measured (Olejnik & Algina 2003)."""
        with np.errstate(invalid="ignore"):
            return self.effect_B / (self.effect_B + self.subject_B + self.error_B)


def decompose(y_BSK: NDArray[np.float64]) -> SumsOfSquares:
    """Split each grid's variation into intervals, seeds and their interaction (the error)."""
    n, k = y_BSK.shape[-2:]
    centred_BSK = y_BSK - y_BSK.mean((-2, -1), keepdims=True)
    interval_BK, seed_BS = centred_BSK.mean(-2), centred_BSK.mean(-1)
    error_BSK = centred_BSK - interval_BK[..., None, :] - seed_BS[..., :, None]
    return SumsOfSquares(
        n * np.square(interval_BK).sum(-1), k * np.square(seed_BS).sum(-1), np.square(error_BSK).sum((-2, -1)), n, k
    )


def greenhouse_geisser(y_BSK: NDArray[np.float64]) -> NDArray[np.float64]:
    """ε̂ of each grid, in [1/(k − 1), min(1, (n − 1)/(k − 1))].

    tr(S)²/((k − 1)·tr(S²)) of the double-centred covariance S, through the n × n Gram matrix of the residuals: the same
    number, and cheap where k is large.
    """
    k = y_BSK.shape[-1]
    residual_BSK = y_BSK - y_BSK.mean(-1, keepdims=True)
    residual_BSK = residual_BSK - residual_BSK.mean(-2, keepdims=True)
    gram_BSS = residual_BSK @ np.swapaxes(residual_BSK, -1, -2)
    with np.errstate(invalid="ignore"):
        eps_B = np.trace(gram_BSS, axis1=-2, axis2=-1) ** 2 / ((k - 1) * np.square(gram_BSS).sum((-2, -1)))
    return np.clip(eps_B, 1 / (k - 1), 1.0)


def huynh_feldt(eps_gg_B: NDArray[np.float64], n: int, k: int) -> NDArray[np.float64]:
    """Huynh and Feldt's (1976) ε̃ from Greenhouse and Geisser's, at most 1; nan for two seeds, where it is 0/0."""
    d = k - 1
    if n < 3:
        return np.full_like(eps_gg_B, np.nan if d > 1 else 1.0)
    # rounding may carry d·ε̂ over its bound n − 1, where the formula goes to +inf
    room_B = np.maximum(n - 1 - d * eps_gg_B, np.finfo(float).tiny)
    return np.minimum((n * d * eps_gg_B - 2) / (d * room_B), 1.0)


def corrected_p(f_B: NDArray[np.float64], eps_B: NDArray[np.float64] | float, n: int, k: int) -> NDArray[np.float64]:
    """p of F with both degrees of freedom times ε; 1 where F is not defined."""
    d = k - 1
    p_B = stats.f.sf(f_B, np.asarray(eps_B) * d, np.asarray(eps_B) * d * (n - 1))
    return np.where(np.isnan(f_B), 1.0, p_B)


def sign_flip_gram(y_BSK: NDArray[np.float64]) -> NDArray[np.float64]:
    """n × n Gram matrix of the curves, each centred on its own mean.

    Σ_t (mean of signed curves)² is sᵀ G s / n² for signs s: a flip costs n², whatever k.
    """
    curves_BSK = y_BSK - y_BSK.mean(-1, keepdims=True)
    return curves_BSK @ np.swapaxes(curves_BSK, -1, -2)
