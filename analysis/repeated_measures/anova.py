"""One-way repeated-measures ANOVA with every correction, through pingouin."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pingouin as pg
from numpy.typing import NDArray
from scipy import stats

from trajlab.analysis.statistics.eta_squared import eta_squared_interval
from trajlab.analysis.statistics.grids import complete_grid, long_frame, refuse_constant
from trajlab.analysis.statistics.sums_of_squares import corrected_p, decompose, huynh_feldt


@dataclass(frozen=True)
class Mauchly:
    """Mauchly's test of sphericity; W in [0, 1]."""

    w: float
    chi2: float
    df: int
    p: float


@dataclass(frozen=True)
class RMAnova:
    """One-way repeated-measures ANOVA with every correction; read ``p_gg``."""

    f: float
    df1: int
    df2: int
    eps_gg: float
    """Greenhouse–Geisser ε̂, at most (n − 1)/(k − 1)."""
    eps_hf: float
    """Huynh–Feldt ε̃, at most 1; nan for two subjects and more than two levels."""
    eps_lb: float
    """The lower bound 1/(k − 1)."""
    p_uncorrected: float
    p_gg: float
    p_hf: float
    p_lb: float
    eta2_partial: float
    eta2_generalized: float
    mauchly: Mauchly | None
    """None where undefined: n ≤ k − 1 (singular covariance) or k = 2 (always spherical)."""
    eta2_partial_ci: tuple[float, float] = (np.nan, np.nan)
    """95 % bootstrap interval of the population's value (`trajlab.analysis.statistics.eta_squared`); nan with fewer than four subjects. The
    sample's own value is biased upward, without an effect to 1/n, and may lie above it."""
    eta2_generalized_ci: tuple[float, float] = (np.nan, np.nan)
    n: int = 0
    k: int = 0

    def table(self) -> pd.DataFrame:
        """A row per correction: ε, degrees of freedom, p."""
        rows = [
            ("none", 1.0, self.p_uncorrected),
            ("Greenhouse–Geisser", self.eps_gg, self.p_gg),
            ("Huynh–Feldt", self.eps_hf, self.p_hf),
            ("lower bound", self.eps_lb, self.p_lb),
        ]
        return pd.DataFrame(
            [
                {"correction": name, "F": self.f, "epsilon": e, "df1": e * self.df1, "df2": e * self.df2, "p": p}
                for name, e, p in rows
            ]
        )


def rm_anova(
    frame: pd.DataFrame, dv: str, within: str, subject: str, *, n_bootstrap: int = 5000, seed: int = 0
) -> RMAnova:
    """One-way repeated-measures ANOVA of a long frame, through pingouin.

    Beside pingouin: the grid is asserted, every correction is reported always, Mauchly only where it is defined, ε̃ of two
    subjects is nan. ``n_bootstrap=0`` leaves the intervals of η² out.

    Raises ValueError where the grid has a hole, a duplicate or a value that is not finite, fewer than two subjects or
    levels, or no error variance.

    >>> import pingouin
    >>> data = pingouin.read_dataset("mixed_anova")
    >>> result = rm_anova(data, "Scores", "Time", "Subject", n_bootstrap=0)
    >>> print(f"F({result.df1}, {result.df2}) = {result.f:.4f}, p = {result.p_uncorrected:.5f}")
    F(2, 118) = 3.9128, p = 0.02263
    """
    grid = complete_grid(frame, dv, within, subject)
    refuse_constant(grid)
    y_SK = grid.to_numpy()
    n, k = y_SK.shape
    row = _pingouin_anova(y_SK)
    f, eps_gg = float(row["F"]), float(np.clip(row["eps"], 1 / (k - 1), 1.0))
    eps_hf, eps_lb = float(huynh_feldt(np.array(eps_gg), n, k)), 1 / (k - 1)
    p_gg, p_hf, p_lb = (float(corrected_p(np.array(f), e, n, k)) for e in (eps_gg, eps_hf, eps_lb))
    nothing = (np.nan, np.nan)
    intervals = [
        eta_squared_interval(y_SK, generalized=g, n_resamples=n_bootstrap, seed=seed) if n_bootstrap else nothing
        for g in (False, True)
    ]
    return RMAnova(
        f=f,
        df1=k - 1,
        df2=(n - 1) * (k - 1),
        eps_gg=eps_gg,
        eps_hf=eps_hf,
        eps_lb=eps_lb,
        p_uncorrected=float(row["p_unc"]),
        p_gg=p_gg,
        p_hf=p_hf,
        p_lb=p_lb,
        eta2_partial=float(decompose(y_SK[None]).eta2_partial_B[0]),
        eta2_generalized=float(row["ng2"]),
        mauchly=_mauchly(y_SK),
        eta2_partial_ci=intervals[0],
        eta2_generalized_ci=intervals[1],
        n=n,
        k=k,
    )


def _pingouin_anova(y_SK: NDArray[np.float64]) -> pd.Series:
    """The effect's row of pingouin's table of a complete grid. Centred first: its sums of squares are differences.

    Two subjects go beside it: its Mauchly divides by zero there, asked for or not.
    """
    n, k = y_SK.shape
    if n == 2:
        parts = decompose(y_SK[None])
        f, ng2 = float(parts.f_B[0]), float(parts.eta2_generalized_B[0])
        return pd.Series({"F": f, "p_unc": stats.f.sf(f, k - 1, k - 1), "ng2": ng2, "eps": 1 / (k - 1)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # log of a singular determinant; Mauchly is ours to judge
        table = pg.rm_anova(
            long_frame(y_SK - y_SK.mean()), dv="dv", within="within", subject="subject", correction=True, detailed=True
        )
    return table.iloc[0]


def _mauchly(y_SK: NDArray[np.float64]) -> Mauchly | None:
    n, k = y_SK.shape
    if k == 2 or n <= k - 1:
        return None
    result = pg.sphericity(pd.DataFrame(y_SK))
    return Mauchly(float(result.W), float(result.chi2), int(result.dof), float(result.pval))
