"""The temporal law as a function: the loss over checkpoints and positions, given forms and coefficients.

    L_i(n) = a0(n) / (1 + a1(n)·i) + a2(n)

Shapes: K checkpoints, P positions, N groups of positions, Q coefficients. ``n`` is millions of tokens.
"""

from collections.abc import Mapping

import numpy as np

from trajlab.analysis.position_law import A1_RANGE
from trajlab.analysis.temporal_law.forms import Form

PARAMETERS = ("a0", "a1", "a2")
TOKENS_PER_N = 1e6


def millions(tokens: np.ndarray | float) -> np.ndarray:
    """Tokens, as callers count them, in millions, as the forms do."""
    return np.atleast_1d(np.asarray(tokens, float)) / TOKENS_PER_N


def split_coefficients(forms: Mapping[str, Form], flat: np.ndarray) -> dict[str, np.ndarray]:
    """All coefficients, one after the other, by parameter."""
    ends = np.cumsum([len(forms[p].coefficients) for p in PARAMETERS])
    return dict(zip(PARAMETERS, np.split(flat, ends[:-1]), strict=True))


def parameters_at(
    forms: Mapping[str, Form], theta: Mapping[str, np.ndarray], n_K: np.ndarray, positions_P: np.ndarray
) -> np.ndarray:
    """a0, a1, a2 of shape (3, K); a1 is kept where the position law seeks it: beyond, only a0/a1 has an effect."""
    values = np.stack([forms[p].value(theta[p], n_K) for p in PARAMETERS])
    values[1] = np.clip(values[1], *a1_range(positions_P))
    return values


def a1_range(positions_P: np.ndarray) -> tuple[float, float]:
    """Where the position law seeks a1 among these positions."""
    return A1_RANGE[0] / positions_P.max(), A1_RANGE[1] / positions_P.min()


def loss_at(
    forms: Mapping[str, Form], theta: Mapping[str, np.ndarray], n_K: np.ndarray, positions_P: np.ndarray
) -> np.ndarray:
    """The loss at each checkpoint and position, (K, P)."""
    a0_K, a1_K, a2_K = parameters_at(forms, theta, n_K, positions_P)
    return a0_K[:, None] / (1 + a1_K[:, None] * positions_P) + a2_K[:, None]


def loss_gradient(
    forms: Mapping[str, Form],
    theta: Mapping[str, np.ndarray],
    n_K: np.ndarray,
    positions_P: np.ndarray,
    mixing_PN: np.ndarray,
) -> np.ndarray:
    """Derivatives of the loss at each checkpoint and group of positions by all coefficients, (K, N, Q)."""
    a0_K, a1_K, _ = parameters_at(forms, theta, n_K, positions_P)
    low, high = a1_range(positions_P)
    h_KP = 1 / (1 + a1_K[:, None] * positions_P)
    by_a1_KP = -a0_K[:, None] * positions_P * h_KP**2 * ((a1_K >= low) & (a1_K <= high))[:, None]
    pieces = zip(PARAMETERS, (h_KP, by_a1_KP, np.ones_like(h_KP)), strict=True)
    by = {p: (by_KP @ mixing_PN)[:, :, None] for p, by_KP in pieces}
    return np.concatenate([by[p] * forms[p].gradient(theta[p], n_K)[:, None] for p in PARAMETERS], 2)
