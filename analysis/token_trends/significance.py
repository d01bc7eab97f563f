"""The tests behind a trend, for all tokens at once: slope of a line, with AR(1) residuals or without, and Mann–Kendall.

Shapes: M tokens, C checkpoints. Losses in nats.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special

_BLOCK = 1024  # tokens at a time: a block of 154 checkpoints in float64 stays in the second-level cache


def slope_test(
    nll: NDArray[np.floating], autocorrelated: bool
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Least squares of the perplexity ratio on the checkpoint index, by blocks of tokens; and which tokens are level."""
    tokens, n = nll.shape
    x = np.arange(n) - (n - 1) / 2
    sxx, average = float(x @ x), np.full(n, 1 / n)
    slope, sse, level = np.empty(tokens), np.empty(tokens), np.empty(tokens, bool)
    r1 = np.zeros(tokens)
    for a in range(0, tokens, _BLOCK):
        block = slice(a, a + _BLOCK)
        y = nll[block].astype(np.float64)
        level[block] = is_level(y, y @ average)
        y -= y[:, :1].copy()
        np.exp(np.minimum(y, 300.0, out=y), out=y)  # the ratio; its square must not overflow either
        y -= (y @ average)[:, None]
        slope[block] = y @ x / sxx
        y -= slope[block, None] * x
        sse[block] = np.einsum("mc,mc->m", y, y)
        if autocorrelated:
            r1[block] = _lag_one(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.maximum(n * (1 - r1) / (1 + r1), 3.0) - 2
        t = np.where(np.abs(slope) * np.sqrt(sxx) < 1e-13, 0.0, slope / np.sqrt(sse / df / sxx))  # 0: only rounding
    columns = {"slope": slope, "t": t, "p": _two_sided(t, df if autocorrelated else float(n - 2))}
    return columns | ({"r1": r1} if autocorrelated else {}), level


def _lag_one(residuals_MC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lag-one autocorrelation in 0 to 0.999 of residuals from a line, less their curvature, corrected for small n.

    A learning curve is bent, and to a straight line a bend looks like autocorrelation: a quadratic takes it out. Each of
    its three parameters biases r₁ by about −(1 + r₁)/n, which is added back (cf. Marriott & Pope 1954, Biometrika 41:390).
    A bend of higher order that stands far above the noise still counts as autocorrelation, and costs power.
    """
    n = residuals_MC.shape[1]
    bend = np.linalg.qr(np.vander(np.linspace(-1, 1, n), 3, increasing=True))[0][:, 2]
    e = residuals_MC - np.outer(residuals_MC @ bend, bend)
    total = np.einsum("mc,mc->m", e, e)
    with np.errstate(divide="ignore", invalid="ignore"):
        r1 = np.where(total > 0, np.einsum("mc,mc->m", e[:, 1:], e[:, :-1]) / total, 0.0)
    return np.clip(r1 + 3 * (1 + r1) / n, 0.0, 0.999)


def _two_sided(t: NDArray[np.float64], df: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.where(np.isinf(t), 0.0, 2 * special.stdtr(df, -np.abs(t)))


def is_level(nll: NDArray[np.float64], middle: NDArray[np.float64], tolerance: float = 0.05) -> NDArray[np.bool_]:
    """Whether first and last perplexity lie within ``tolerance`` of the geometric mean perplexity exp(``middle``)."""
    if not np.isfinite(middle).all():
        token, checkpoint = np.argwhere(~np.isfinite(nll))[0]
        raise ValueError(
            f"a loss is {nll[token, checkpoint]}, {checkpoint} checkpoints after the start: every loss must be finite; "
            "drop the token or the checkpoint"
        )
    low, high = np.log1p(-tolerance), np.log1p(tolerance)
    first, last = nll[:, 0] - middle, nll[:, -1] - middle
    return (first >= low) & (first <= high) & (last >= low) & (last <= high)


def rank_test(nll: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Mann–Kendall: s, tau, z, p of every token, ties allowed for; z with the continuity correction."""
    n = nll.shape[1]
    pairs = n * (n - 1) / 2
    counts = [np.stack([_rising_pairs(b), *_ties(b)]) for b in _blocks(nll, 8192)]
    rising, tied, correction = np.concatenate([np.zeros((3, 0)), *counts], axis=1)
    s = 2 * rising + tied - pairs
    variance = (n * (n - 1) * (2 * n + 5) - correction) / 18
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 0, (s - np.sign(s)) / np.sqrt(variance), 0.0)
        tau = np.where(tied < pairs, s / np.sqrt(pairs * (pairs - tied)), 0.0)
    return {"s": s, "tau": tau, "z": z, "p": 2 * special.ndtr(-np.abs(z))}


def _blocks(nll: NDArray[np.floating], size: int) -> Iterator[NDArray[np.floating]]:
    return (nll[a : a + size] for a in range(0, len(nll), size))


def _rising_pairs(nll: NDArray[np.floating]) -> NDArray[np.float64]:
    """How many pairs of checkpoints rise, for each token. Costs C²/2 comparisons a token, about four a nanosecond."""
    x_CM = np.ascontiguousarray(nll.T)
    wins = np.empty(x_CM.shape, bool)
    rising = np.zeros(len(nll))
    for i in range(len(x_CM) - 1):
        rising += _column_sums(np.greater(x_CM[i + 1 :], x_CM[i], out=wins[i + 1 :]))
    return rising


def _ties(nll: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each token, pairs of equal losses, and Σ t(t − 1)(2t + 5) over groups of t equal ones."""
    x_MC = np.sort(nll, axis=1)
    equal_MC = x_MC[:, 1:] == x_MC[:, :-1]
    some = np.flatnonzero(equal_MC.any(axis=1))
    run, pairs, correction = np.ones(len(some)), np.zeros(len(nll)), np.zeros(len(nll))
    for equal in equal_MC[some].T if len(some) else ():
        run = np.where(equal, run + 1, 1.0)
        pairs[some] += run - 1
        correction[some] += _tie_term(run) - _tie_term(run - 1) * (run > 1)
    return pairs, correction


def _tie_term(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return t * (t - 1) * (2 * t + 5)


def _column_sums(truth: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Sums over rows; up to 255 rows in bytes, which is eight times as fast as in words."""
    dtype = np.uint8 if len(truth) <= 255 else np.int32
    return np.add.reduce(truth.view(np.uint8), axis=0, dtype=dtype)  # type: ignore[return-value]
