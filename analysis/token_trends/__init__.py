"""Trends of single tokens along a series of checkpoints (docs/methods.md §5; Xia et al. 2023, arXiv 2212.09803).

`classify_trends` sorts tokens into downward, upward, stagnated and unclassified; `trend_shares` counts them by start point
and by test. `trace` and `at_matched_perplexity` follow a group of tokens through models of other sizes, `double_descent`
sums that up for the tokens that one model unlearns. `token_kinds` asks what kind of tokens they are. `nll_matrix` reads
the table `tokens`, `streamed_nll_matrix` one that is too long for a frame.
"""

from trajlab.analysis.token_trends.classes import (
    READINGS,
    STARTS,
    TRENDS,
    classify_trends,
    mann_kendall,
    trend_shares,
)
from trajlab.analysis.token_trends.groups import DoubleDescent, at_matched_perplexity, double_descent, trace
from trajlab.analysis.token_trends.kinds import part_of_word, token_kinds
from trajlab.analysis.token_trends.losses import nll_matrix, streamed_nll_matrix

__all__ = [
    "READINGS",
    "STARTS",
    "TRENDS",
    "DoubleDescent",
    "at_matched_perplexity",
    "classify_trends",
    "double_descent",
    "mann_kendall",
    "nll_matrix",
    "part_of_word",
    "streamed_nll_matrix",
    "token_kinds",
    "trace",
    "trend_shares",
]
