"""Linear mixed model of a curve: seed intercept, AR(1) residuals."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import stats

from trajlab.analysis.statistics.ar1 import PHI_EDGE, fit_ar1
from trajlab.analysis.statistics.grids import complete_grid, refuse_constant


@dataclass(frozen=True)
class MixedModel:
    """REML fit with a fixed effect per interval, a random intercept per seed and AR(1) residuals."""

    phi: float
    """Autocorrelation of neighbouring intervals' residuals."""
    sd_residual: float
    sd_seed: float
    log_likelihood: float
    """Restricted, up to a constant of n and k."""
    f: float
    df1: int
    df2: int
    p: float
    converged: bool
    message: str
    """What went wrong, where it did."""

    def table(self) -> pd.DataFrame:
        """One row."""
        return pd.DataFrame([asdict(self)])


def mixed_model(frame: pd.DataFrame, dv: str, within: str, subject: str) -> MixedModel:
    """Linear mixed model with a seed intercept and AR(1) residuals; levels count as equally spaced, in their order.

    statsmodels' MixedLM has no autocorrelated residuals. On a complete grid REML is a search over φ alone
    (`trajlab.analysis.statistics.ar1`); a test holds the estimates against MixedLM on data whitened at φ̂. F is Wald's on k − 1 and
    (n − 1)(k − 1) degrees of freedom. ``converged`` is False, and p not to be used, where φ̂ lies at the edge (the residuals
    are a random walk), or where k = 2 (φ is not identified). Raises ValueError as `rm_anova` does.
    """
    grid = complete_grid(frame, dv, within, subject)
    refuse_constant(grid)
    y_SK = grid.to_numpy() - grid.to_numpy().mean()
    n, k = y_SK.shape
    fit = fit_ar1(y_SK[None])
    phi, f = float(fit.phi_B[0]), float(fit.f_B[0])
    message = _complaint(phi, k)
    df1, df2 = k - 1, (n - 1) * (k - 1)
    return MixedModel(
        phi=phi,
        sd_residual=float(np.sqrt(fit.residual_variance_B[0])),
        sd_seed=float(np.sqrt(max(fit.seed_variance_B[0], 0.0))),
        log_likelihood=float(fit.log_likelihood_B[0]),
        f=f,
        df1=df1,
        df2=df2,
        p=float(stats.f.sf(f, df1, df2)),
        converged=not message,
        message=message,
    )


def _complaint(phi: float, k: int) -> str:
    if k < 3:
        return "two levels don't identify the autocorrelation"
    if abs(phi) > PHI_EDGE:
        return (
            f"φ at the edge ({phi:.5f}): the residuals wander like a random walk or more, not like a stationary AR(1)"
        )
    return ""
