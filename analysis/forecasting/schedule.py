"""What the learning rate at the checkpoints says: where the warm-up ends, and until when the rate is stable.

Shape: K checkpoints. A rate is NaN where it is not known.
"""

import numpy as np

RISING = 0.5
"""Share of the highest rate below which a pause in its rise is no end of the warm-up **(ours)**."""


def warmed_up(lr_R: np.ndarray) -> int:
    """The first row of a known schedule after which the rate doesn't rise, at no less than half of its highest.

    Where rates come back (cycles, warm restarts) the highest one may lie ahead, or recur a rounding error higher.
    """
    highest = float(lr_R.max())
    ends = np.flatnonzero((np.diff(lr_R) <= 1e-6 * highest) & (lr_R[:-1] >= RISING * highest))
    return int(ends[0]) if len(ends) else int(np.argmax(lr_R >= highest * (1 - 1e-6)))


def after_warmup(tokens_K: np.ndarray, lr_K: np.ndarray | None) -> np.ndarray:
    """Checkpoints with tokens, from the highest learning rate on (a mask)."""
    if lr_K is None or not np.isfinite(lr_K).any():
        return tokens_K > 0
    peak = np.nanmax(lr_K)
    first = tokens_K[np.isfinite(lr_K) & (lr_K >= peak * (1 - 1e-6))].min()
    return (tokens_K > 0) & (tokens_K >= first)


def stable_until(tokens_K: np.ndarray, lr_K: np.ndarray | None) -> float | None:
    """Tokens of the last checkpoint at the highest learning rate; None where the rate never falls."""
    if lr_K is None or not np.isfinite(lr_K).any():
        return None
    highest = tokens_K[lr_K >= np.nanmax(lr_K) * (1 - 1e-6)].max()
    return float(highest) if (lr_K[tokens_K > highest] < np.nanmax(lr_K) * 0.999).any() else None


def decays_until(tokens_K: np.ndarray, lr_K: np.ndarray) -> float | None:
    """Tokens at which the rate first reaches its lowest value after the peak; None where it never falls."""
    until = stable_until(tokens_K, lr_K)
    if until is None:
        return None
    after_K = tokens_K > until
    lowest = np.nanmin(lr_K[after_K])
    reached = tokens_K[after_K & (lr_K <= lowest + 1e-6 * np.nanmax(lr_K))]
    return float(reached.min())
