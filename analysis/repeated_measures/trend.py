"""Linear and quadratic trend of a curve, tested over seeds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from trajlab.analysis.statistics.grids import complete_grid, refuse_constant
from trajlab.analysis.statistics.polynomial_trend import any_trend_p, trend_t


@dataclass(frozen=True)
class TrendTest:
    """One t test per polynomial degree over the seeds' coefficients."""

    coefficient_Q: tuple[float, ...]
    """Mean over seeds of the orthonormal linear, quadratic … coefficient; positive: rising, a valley."""
    t_Q: tuple[float, ...]
    p_Q: tuple[float, ...]
    df: int
    p: float
    """That there is any of these trends: Bonferroni, ``degree · min(p_Q)``."""

    def table(self) -> pd.DataFrame:
        """A row per degree: mean coefficient, t, df, p, Holm's p."""
        rows = {"degree": range(1, len(self.t_Q) + 1), "coefficient": self.coefficient_Q, "t": self.t_Q, "df": self.df}
        p_holm = multipletests(np.nan_to_num(self.p_Q, nan=1.0), method="holm")[1]
        return pd.DataFrame({**rows, "p": self.p_Q, "p_holm": p_holm})


def trend_test(frame: pd.DataFrame, dv: str, within: str, subject: str, *, degree: int = 2) -> TrendTest:
    """Do the seeds share a linear or a quadratic trend over the intervals?

    One coefficient per seed and degree, a t test of each over seeds: exact for normal errors under any covariance along the
    curve. Levels count as equally spaced, in their order. It sees slopes and turns, and is blind to what has neither,
    such as a single interval that is off. Fix the degree before looking. Raises ValueError as `rm_anova` does, and unless
    1 ≤ degree < k.
    """
    grid = complete_grid(frame, dv, within, subject)
    refuse_constant(grid)
    y_BSK = grid.to_numpy()[None] - grid.to_numpy().mean()
    mean_BQ, t_BQ, p_BQ = trend_t(y_BSK, degree)
    return TrendTest(
        tuple(mean_BQ[0].tolist()),
        tuple(t_BQ[0].tolist()),
        tuple(p_BQ[0].tolist()),
        len(grid) - 1,
        float(any_trend_p(y_BSK, degree)[0]),
    )
