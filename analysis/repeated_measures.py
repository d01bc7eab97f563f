"""Is there an interval effect? Repeated measures of a training curve (methods.md §2).

Seeds are the subjects, intervals the within factor. In the order in which to read them:

- `rm_anova`: F with Greenhouse–Geisser, Huynh–Feldt and lower-bound corrections, η² with bootstrap intervals
- `sign_flip_test`: distribution-free, keeps each seed's autocorrelation; exact up to 14 seeds
- `trend_test`: linear and quadratic trend over seeds; exact, and the strongest of these for a turn
- `mixed_model`: seed intercept and AR(1) residuals
- `permutation_test`, `friedman`: assume exchangeable intervals, which a training curve has not; for comparison
- `compare_tests`: all of them in one table

docs/statistics.md says which one to read and why.
"""

import warnings
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import pingouin as pg
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from trajlab.analysis.statistics.ar1 import PHI_EDGE, fit_ar1
from trajlab.analysis.statistics.eta_squared import eta_squared_interval
from trajlab.analysis.statistics.grids import complete_grid, refuse_constant
from trajlab.analysis.statistics.polynomial_trend import any_trend_p, trend_t
from trajlab.analysis.statistics.resampling import (
    EXACT_SIGN_FLIPS,
    PValue,
    all_signs,
    permuted_effects,
    share_at_least,
    sign_flip_statistics,
)
from trajlab.analysis.statistics.sums_of_squares import corrected_p, decompose, huynh_feldt, sign_flip_gram


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
            _long(y_SK - y_SK.mean()), dv="dv", within="within", subject="subject", correction=True, detailed=True
        )
    return table.iloc[0]


def _long(y_SK: NDArray[np.float64]) -> pd.DataFrame:
    n, k = y_SK.shape
    return pd.DataFrame({"subject": np.repeat(np.arange(n), k), "within": np.tile(np.arange(k), n), "dv": y_SK.ravel()})


def _mauchly(y_SK: NDArray[np.float64]) -> Mauchly | None:
    n, k = y_SK.shape
    if k == 2 or n <= k - 1:
        return None
    result = pg.sphericity(pd.DataFrame(y_SK))
    return Mauchly(float(result.W), float(result.chi2), int(result.dof), float(result.pval))


def sign_flip_test(
    frame: pd.DataFrame, dv: str, within: str, subject: str, *, n_resamples: int = 9999, seed: int = 0
) -> PValue:
    """p of Σ_t (mean centred curve)² under flips of whole curves (methods.md §2).

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
    row = pg.friedman(_long(grid.to_numpy()), dv="dv", within="within", subject="subject").iloc[0]
    return Friedman(float(row["Q"]), int(row["ddof1"]), float(row["p_unc"]), float(row["W"]))


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


COMPARED = {
    "ANOVA, Greenhouse–Geisser": "read this",
    "sign flips of whole curves": "read this: distribution-free",
    "linear and quadratic trend": "read this for a slope or a turn: exact",
    "mixed model, AR(1)": "a little liberal; only if residuals are AR(1)",
    "ANOVA, lower bound": "over-careful",
    "ANOVA, Huynh–Feldt": "too liberal at few seeds",
    "ANOVA, uncorrected": "wrong for curves",
    "label permutation": "wrong for curves",
    "Friedman": "wrong for curves",
}
"""Every test of an interval effect, best first, with the verdict of the calibration (docs/statistics.md)."""


def compare_tests(
    frame: pd.DataFrame, dv: str, within: str, subject: str, *, n_permutations: int = 9999, seed: int = 0
) -> pd.DataFrame:
    """All tests of one interval effect side by side: test, statistic, p, advice.

    The statistic is F, the sum of squares of the mean curve, the larger t, or χ². Raises ValueError as `rm_anova` does.
    """
    anova = rm_anova(frame, dv, within, subject, n_bootstrap=0)
    flips = sign_flip_test(frame, dv, within, subject, seed=seed)
    labels = permutation_test(frame, dv, within, subject, n_permutations, seed)
    ranks = friedman(frame, dv, within, subject)
    mixed = mixed_model(frame, dv, within, subject)
    trend = trend_test(frame, dv, within, subject, degree=min(2, anova.k - 1))
    found = {
        "ANOVA, Greenhouse–Geisser": (anova.f, anova.p_gg),
        "sign flips of whole curves": (flips.statistic, flips.p),
        "linear and quadratic trend": (max(trend.t_Q, key=abs), trend.p),
        "mixed model, AR(1)": (mixed.f, mixed.p),
        "ANOVA, lower bound": (anova.f, anova.p_lb),
        "ANOVA, Huynh–Feldt": (anova.f, anova.p_hf),
        "ANOVA, uncorrected": (anova.f, anova.p_uncorrected),
        "label permutation": (labels.statistic, labels.p),
        "Friedman": (ranks.chi2, ranks.p),
    }
    advice = dict(COMPARED)
    if flips.smallest > 0.05:
        advice["sign flips of whole curves"] = f"can't reject: p ≥ {flips.smallest:.3g} with {anova.n} seeds"
    if not mixed.converged:
        advice["mixed model, AR(1)"] = f"not converged: {mixed.message}"
    rows = [{"test": t, "statistic": s, "p": p, "advice": advice[t]} for t, (s, p) in found.items()]
    return pd.DataFrame(rows)
