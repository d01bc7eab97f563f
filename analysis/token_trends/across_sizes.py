"""Two models on the same tokens: do they rise and fall together, do they agree at equal perplexity? (docs/methods.md §6)

Every quantity is one number per token whose mean has an expectation of 0 where the two models have nothing in common, so that
windows can be resampled. Shapes: M tokens, C checkpoints.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def matched_in_level(level_M: NDArray[np.float64], selected_M: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each selected token the token that was not selected and lies nearest in level; indices."""
    others = np.flatnonzero(~selected_M)
    if not len(others):
        raise ValueError("every token is selected: there is none to compare with")
    order = others[np.argsort(level_M[others], kind="stable")]
    wanted = level_M[selected_M]
    right = np.clip(np.searchsorted(level_M[order], wanted), 0, len(order) - 1)
    left = np.maximum(right - 1, 0)
    nearer_left = np.abs(level_M[order[left]] - wanted) <= np.abs(level_M[order[right]] - wanted)
    return np.where(nearer_left, order[left], order[right])


def rise_and_fall(nll_MC: NDArray[np.floating], selected_M: NDArray[np.bool_], start: int, turn: int) -> pd.DataFrame:
    """A row per selected token: rise (start → turn), fall (turn → last) and the rise beyond that of its match, in nats.

    Matches are tokens that were not selected, nearest in loss at the start. A group rises and falls where the means of all
    three are over 0: a loss that only falls has no rise, and one that rises as all others do has no rise of its own.
    """
    loss_MC = np.asarray(nll_MC, dtype=np.float64)
    match = matched_in_level(loss_MC[:, start], selected_M)
    rise_M, fall_M = loss_MC[:, turn] - loss_MC[:, start], loss_MC[:, turn] - loss_MC[:, -1]
    own = rise_M[selected_M]
    return pd.DataFrame({"rise": own, "fall": fall_M[selected_M], "rise_beyond": own - rise_M[match]})


def agreement(a_M: NDArray[np.floating], b_M: NDArray[np.floating]) -> NDArray[np.float64]:
    """How much nearer two models are on the same token than on permuted tokens; a value per token whose mean that is.

    The mean is E|a_m − b_m'| − mean |a_m − b_m| over all permutations, 0 where the tokens are independent. Values are its
    influence functions, so that the spread of their mean is that of the whole statistic (Hoeffding 1948).
    """
    apart_M = np.abs(a_M - b_M)
    of_a_M, of_b_M = _mean_distance(a_M, b_M), _mean_distance(b_M, a_M)
    m = len(a_M)  # the own partner is left out of the permuted mean
    of_a_M, of_b_M = ((m * p - apart_M) / (m - 1) for p in (of_a_M, of_b_M))
    return np.asarray(of_a_M + of_b_M - of_a_M.mean() - apart_M)


def _mean_distance(x_M: NDArray[np.floating], others_M: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over all others of |x − other|, by sorting."""
    ordered = np.sort(others_M)
    sums = np.r_[0.0, np.cumsum(ordered)]
    below = np.searchsorted(ordered, x_M)
    n = len(ordered)
    return np.asarray((x_M * (2 * below - n) + sums[-1] - 2 * sums[below]) / n)
