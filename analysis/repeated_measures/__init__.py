"""Is there an interval effect? Repeated measures of a training curve (docs/methods.md §2).

Seeds are the subjects, intervals the within factor. In the order in which to read them:

- `rm_anova`: F with Greenhouse–Geisser, Huynh–Feldt and lower-bound corrections, η² with bootstrap intervals
- `sign_flip_test`: distribution-free, keeps each seed's autocorrelation; exact up to 14 seeds
- `trend_test`: linear and quadratic trend over seeds; exact, and the strongest of these for a turn
- `mixed_model`: seed intercept and AR(1) residuals
- `permutation_test`, `friedman`: assume exchangeable intervals, which a training curve has not; for comparison
- `compare_tests`: all of them in one table

docs/statistics.md says which one to read and why.
"""

from trajlab.analysis.repeated_measures.anova import Mauchly, RMAnova, rm_anova
from trajlab.analysis.repeated_measures.comparison import COMPARED, compare_tests
from trajlab.analysis.repeated_measures.distribution_free import Friedman, friedman, permutation_test, sign_flip_test
from trajlab.analysis.repeated_measures.mixed import MixedModel, mixed_model
from trajlab.analysis.repeated_measures.trend import TrendTest, trend_test

__all__ = [
    "COMPARED",
    "Friedman",
    "Mauchly",
    "MixedModel",
    "RMAnova",
    "TrendTest",
    "compare_tests",
    "friedman",
    "mixed_model",
    "permutation_test",
    "rm_anova",
    "sign_flip_test",
    "trend_test",
]
