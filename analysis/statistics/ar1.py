"""The mixed model of a complete grid with a seed intercept and AR(1) residuals, many grids at once.

Legend: B grids, S seeds (n), K intervals (k), P candidate values of φ. The interval means are saturated and the design
balanced, so everything but φ has a closed form: REML is a search in one dimension.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PHI_EDGE = 0.999
"""An estimate beyond this lies at the edge: the residuals are a random walk and a seed intercept can't be told from it."""


@dataclass(frozen=True)
class AR1Fit:
    """REML estimates for each grid: φ, residual variance, seed variance, restricted log-likelihood, Wald F."""

    phi_B: NDArray[np.float64]
    residual_variance_B: NDArray[np.float64]
    seed_variance_B: NDArray[np.float64]
    log_likelihood_B: NDArray[np.float64]
    f_B: NDArray[np.float64]


def fit_ar1(y_BSK: NDArray[np.float64], steps: int = 12) -> AR1Fit:
    """Maximise the restricted likelihood over φ by ever finer grids of 41 values (so to about 1e-9 after 12)."""
    batch = y_BSK.shape[:-2]
    y_BSK = y_BSK.reshape(-1, *y_BSK.shape[-2:])
    low_B, high_B = np.full(len(y_BSK), -0.98), np.full(len(y_BSK), 1 - 1e-5)
    for _ in range(steps):
        phi_BP = np.linspace(low_B, high_B, 41, axis=-1)
        best_B = _profile(y_BSK, phi_BP).log_likelihood_B.argmax(-1)
        rows = np.arange(len(phi_BP))
        low_B, high_B = phi_BP[rows, np.maximum(best_B - 1, 0)], phi_BP[rows, np.minimum(best_B + 1, 40)]
    fit = _profile(y_BSK, ((low_B + high_B) / 2)[:, None])
    return AR1Fit(**{name: value[:, 0].reshape(batch) for name, value in vars(fit).items()})


def _profile(y_BSK: NDArray[np.float64], phi_BP: NDArray[np.float64]) -> AR1Fit:
    """Everything else at its best for each φ.

    With A the AR(1) correlation matrix, a = A⁻¹1 and c = 1ᵀA⁻¹1, the quadratic form of the residuals splits into q (along
    the intercept) and W (the rest): σ² = W/((n−1)(k−1)), σ²+c·σ_b² = q/(n−1) if that is larger, else one pooled variance.
    """
    n, k = y_BSK.shape[-2:]
    mean_BK = y_BSK.mean(-2)
    residual_BSK = y_BSK - mean_BK[:, None]
    c_BP = (k - (k - 2) * phi_BP) / (1 + phi_BP)
    q_BP, w_BP = (part.sum(-1) for part in _split(residual_BSK, phi_BP, c_BP))
    effect_BP = n * _split(mean_BK[:, None], phi_BP, c_BP)[1].sum(-1)
    within_BP, along_BP = w_BP / ((n - 1) * (k - 1)), q_BP / (n - 1)
    pooled_BP = (w_BP + q_BP) / ((n - 1) * k)
    seeds_differ_BP = along_BP > within_BP
    variance_BP = np.where(seeds_differ_BP, within_BP, pooled_BP)
    along_BP = np.where(seeds_differ_BP, along_BP, pooled_BP)
    with np.errstate(divide="ignore", invalid="ignore"):
        logdet_BP = (k - 1) * np.log(variance_BP) + np.log(along_BP) + (k - 1) * np.log1p(-(phi_BP**2))
        likelihood_BP = -0.5 * (n - 1) * (logdet_BP + k * (1 + np.log(2 * np.pi)))
        f_BP = effect_BP / (k - 1) / variance_BP
    return AR1Fit(phi_BP, variance_BP, (along_BP - variance_BP) / c_BP, likelihood_BP, f_BP)


def _split(
    x_BSK: NDArray[np.float64], phi_BP: NDArray[np.float64], c_BP: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x A⁻¹ xᵀ for each curve, along the intercept and the rest, (B, P, S) each; A⁻¹ is tridiagonal."""
    x_BSK = x_BSK - x_BSK.mean((-2, -1), keepdims=True)  # only for rounding: the parts that matter are invariant
    ends_BS = x_BSK[..., 0] + x_BSK[..., -1]
    square_BS = np.square(x_BSK).sum(-1)
    inner_BS = square_BS - x_BSK[..., 0] ** 2 - x_BSK[..., -1] ** 2
    lag_BS = (x_BSK[..., 1:] * x_BSK[..., :-1]).sum(-1)
    phi_BP1 = phi_BP[..., None]
    total_BPS = (square_BS[:, None] + phi_BP1**2 * inner_BS[:, None] - 2 * phi_BP1 * lag_BS[:, None]) / (1 - phi_BP1**2)
    along_BPS = (x_BSK.sum(-1)[:, None] * (1 - phi_BP1) + phi_BP1 * ends_BS[:, None]) / (1 + phi_BP1)
    along_BPS = along_BPS**2 / c_BP[..., None]
    return along_BPS, total_BPS - along_BPS
