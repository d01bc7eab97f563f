"""Every test of an interval effect side by side."""

import pandas as pd

from trajlab.analysis.repeated_measures.anova import rm_anova
from trajlab.analysis.repeated_measures.distribution_free import friedman, permutation_test, sign_flip_test
from trajlab.analysis.repeated_measures.mixed import mixed_model
from trajlab.analysis.repeated_measures.trend import trend_test

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

    >>> from trajlab.analysis import load_runs
    >>> tests = compare_tests(load_runs("runs/demo").intervals, "loss", "interval", "seed", n_permutations=99)
    >>> float(tests.set_index("test")["p"]["sign flips of whole curves"])
    0.25
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
