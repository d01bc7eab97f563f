"""t tests of a few orthogonal polynomials of the interval, many grids at once.

Twenty-one intervals are too many for six seeds, two shapes are not: each seed's curve becomes its linear and quadratic
coefficient, and a one-sample t test over seeds asks of each whether its mean is zero. Exact for normal errors whatever the
covariance along the curve, so there is no sphericity to correct for; Bonferroni over the degrees. (Hotelling's T² on the same
coefficients has less power at these sizes: docs/log.md.) Legend: B grids, S seeds (n), K intervals, Q polynomials.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def orthogonal_polynomials(k: int, degree: int) -> NDArray[np.float64]:
    """(k, degree): orthonormal, each orthogonal to the constant and to lower degrees, for equally spaced levels.

    Signs such that the last level is positive: a rising line, a valley.
    """
    x = np.linspace(-1, 1, k)
    q, _ = np.linalg.qr(np.vander(x, degree + 1, increasing=True))
    return np.asarray(q[:, 1:] * np.sign(q[-1, 1:]))


def trend_t(
    y_BSK: NDArray[np.float64], degree: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean coefficient, t on n − 1 degrees of freedom, and two-sided p, (B, Q) each; nan where a coefficient is the same
    for every seed.

    Raises ValueError unless 1 ≤ degree < k.
    """
    n, k = y_BSK.shape[-2:]
    if not 1 <= degree < k:
        raise ValueError(f"degree {degree}: {k} intervals allow 1 to {k - 1}")
    scores_BSQ = y_BSK @ orthogonal_polynomials(k, degree)
    mean_BQ, sd_BQ = scores_BSQ.mean(-2), scores_BSQ.std(-2, ddof=1)
    rounding_B1 = 64 * np.finfo(float).eps * np.abs(y_BSK).max((-2, -1))[..., None] * np.sqrt(k)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_BQ = np.where(sd_BQ > rounding_B1, mean_BQ / sd_BQ * np.sqrt(n), np.nan)
    return mean_BQ, t_BQ, 2 * stats.t.sf(np.abs(t_BQ), n - 1)


def any_trend_p(y_BSK: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """Bonferroni p that no coefficient up to ``degree`` has mean zero; an undefined one counts as p = 1."""
    p_BQ = np.nan_to_num(trend_t(y_BSK, degree)[2], nan=1.0)
    return np.asarray(np.minimum(1.0, degree * p_BQ.min(-1)))
