"""Trends of single tokens along a series of checkpoints (methods.md §5; Xia et al. 2023, arXiv 2212.09803).

`classify_trends` sorts tokens into downward, upward, stagnated and unclassified; `trend_shares` counts them by start point
and by test. `trace` and `at_matched_perplexity` follow a group of tokens through models of other sizes, `double_descent`
sums that up for the tokens that one model unlearns. `token_kinds` asks what kind of tokens they are. `nll_matrix` reads
the table `tokens`.

Shapes: M tokens, C checkpoints. Losses in nats.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Test = Literal["ols", "ar1", "mann_kendall"]
TRENDS = ("downward", "upward", "stagnated", "unclassified")
STARTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Fractions of training from which on trends are counted."""
READINGS: dict[str, tuple[Test, str | None]] = {
    "ols": ("ols", None),
    "ols, BH": ("ols", "bh"),
    "ols, AR(1)": ("ar1", None),
    "ols, AR(1), BH": ("ar1", "bh"),
    "Mann–Kendall": ("mann_kendall", None),
    "Mann–Kendall, BH": ("mann_kendall", "bh"),
}
"""How a trend may be tested: the published reading first, the others (ours) beside it."""

_MARKS = "Ġ▁Ċĉč \n\t\r"  # what stands for white space in tokenizers' pieces

_BLOCK = 1024  # tokens at a time: a block of 154 checkpoints in float64 stays in the second-level cache


# ---- classes


def classify_trends(
    nll_MC: ArrayLike,
    start: int | float = 0,
    alpha: float = 0.05,
    adjust: str | None = None,
    *,
    test: Test = "ols",
    at_C: ArrayLike | None = None,
) -> pd.DataFrame:
    """The trend of every token from the checkpoint ``start`` on; a row per token, in order.

    With j the start checkpoint, the ratio PPL_i/PPL_j = exp(nll_i − nll_j) is regressed on (i − j), with an intercept,
    over all i ≥ j: downward where the slope is negative and p < ``alpha``, upward where it is positive and p < ``alpha``,
    stagnated where neither and both the first and the last perplexity lie within 5 % of the geometric mean of all from j
    on, else unclassified. Dividing by PPL_j makes slopes of different tokens comparable and leaves t and p alone. This
    is the reading **(ours)** of "regress PPL_i/PPL_j on (i − j)"; all pairs i > j at once would count every checkpoint
    C − 1 times and call nearly everything significant.

    ``start`` is a column (an int) or a fraction of training (a float under 1), by the checkpoint nearest to it; ``at_C``,
    in steps or tokens, places the checkpoints in training where they are not evenly spaced. The line is over the index
    all the same. ``adjust="bh"`` decides by Benjamini–Hochberg-adjusted p, so that at most ``alpha`` of the trends found
    are expected to be false.

    ``test``: ``ols`` as published, which takes residuals for independent; ``ar1`` **(ours)** the same line with the
    effective number of checkpoints n(1 − r₁)/(1 + r₁) in place of n (Santer et al. 2000, doi:10.1029/1999JD901105), r₁ the
    lag-one autocorrelation where positive, of residuals from a quadratic so that the bend of a learning curve does not
    count as noise; ``mann_kendall`` the rank test, whose direction is the sign of τ.

    Columns: slope, t, p, [r1, or tau], p_bh, trend (categorical).

    >>> falling, flat = [3 - 0.1 * i for i in range(8)], [2.0] * 8
    >>> classify_trends([falling, flat])["trend"].tolist()
    ['downward', 'stagnated']

    Raises ValueError for losses that are not finite, fewer than three checkpoints, an unknown ``test`` or ``adjust``.
    """
    nll = _from_start(nll_MC, start, at_C)
    if adjust not in (None, "bh"):
        raise ValueError(f"adjust={adjust!r}: expected None or 'bh' (Benjamini–Hochberg)")
    if test not in ("ols", "ar1", "mann_kendall"):
        raise ValueError(f"test={test!r}: expected 'ols', 'ar1' or 'mann_kendall'")
    columns, level = _line(nll, autocorrelated=test == "ar1")
    direction = columns["slope"]
    if test == "mann_kendall":
        columns |= _mann_kendall(nll)
        direction = columns["tau"]
    columns["p_bh"] = stats.false_discovery_control(columns["p"]) if len(nll) else columns["p"]
    significant = columns["p_bh" if adjust else "p"] < alpha
    codes = np.where(level, TRENDS.index("stagnated"), TRENDS.index("unclassified")).astype(np.int8)
    codes[significant & (direction < 0)] = TRENDS.index("downward")
    codes[significant & (direction > 0)] = TRENDS.index("upward")
    return pd.DataFrame({**columns, "trend": pd.Categorical.from_codes(codes, list(TRENDS))}, copy=False)


def trend_shares(
    nll_MC: ArrayLike,
    starts: Iterable[int | float] = STARTS,
    alpha: float = 0.05,
    readings: Iterable[str] = READINGS,
    at_C: ArrayLike | None = None,
) -> pd.DataFrame:
    """How many tokens go which way: a row per start × reading × trend with count and share.

    Start points that leave fewer than three checkpoints are left out.
    """
    nll, at = _checked(nll_MC, at_C)
    rows = []
    for start in starts:
        column = _column(start, at)
        if nll.shape[1] - column < 3:
            continue
        for reading in readings:
            test, adjust = READINGS[reading]
            trend = classify_trends(nll, column, alpha, adjust, test=test, at_C=at)["trend"]
            counts = trend.value_counts(sort=False)
            rows += [(start, column, reading, kind, int(n), n / max(len(nll), 1)) for kind, n in counts.items()]
    return pd.DataFrame(rows, columns=["start", "checkpoint", "reading", "trend", "count", "share"])


def mann_kendall(nll_MC: ArrayLike, start: int | float = 0) -> pd.DataFrame:
    """Mann–Kendall trend test of every token from ``start`` on: s, tau, z, p; a row per token.

    S is the number of rising minus the number of falling pairs; its variance allows for ties; z has the continuity
    correction and p is two-sided from the normal distribution, an approximation that wants ten checkpoints or so. The
    test assumes exchangeable checkpoints under the null: autocorrelation makes it reject too often, as it does OLS.
    """
    nll = _from_start(nll_MC, start, None)
    _level(nll.astype(float), nll.mean(axis=1, dtype=float))  # every loss must be finite
    return pd.DataFrame(_mann_kendall(nll))


# ---- the tests


def _checked(nll_MC: ArrayLike, at_C: ArrayLike | None) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    nll = np.asarray(nll_MC)
    if nll.dtype.kind != "f":
        nll = nll.astype(np.float64)
    if nll.ndim != 2:
        raise ValueError(f"nll_MC has shape {nll.shape}: expected tokens × checkpoints")
    at = np.arange(nll.shape[1], dtype=float) if at_C is None else np.asarray(at_C, dtype=float)
    if at.shape != (nll.shape[1],) or not (np.diff(at) > 0).all():
        raise ValueError(f"at_C has shape {at.shape}: expected {nll.shape[1]} increasing values, one per checkpoint")
    return nll, at


def _column(start: int | float, at_C: NDArray[np.float64]) -> int:
    """The checkpoint meant by ``start``: itself, or the one nearest to that fraction of the way to the last."""
    if isinstance(start, int | np.integer):
        column = int(start)
    elif 0 <= start < 1:
        column = int(np.argmin(np.abs(at_C - start * at_C[-1])))
    else:
        raise ValueError(f"start={start}: a float is a fraction of training under 1; write {int(start)} for a column")
    if not 0 <= column < len(at_C):
        raise ValueError(f"start={start}: there are {len(at_C)} checkpoints, so a column is 0 to {len(at_C) - 1}")
    return column


def _from_start(nll_MC: ArrayLike, start: int | float, at_C: ArrayLike | None) -> NDArray[np.floating]:
    nll, at = _checked(nll_MC, at_C)
    nll = nll[:, _column(start, at) :]
    if nll.shape[1] < 3:
        raise ValueError(f"start={start} leaves {nll.shape[1]} checkpoints: a trend needs three or more")
    return nll


def _line(nll: NDArray[np.floating], autocorrelated: bool) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Least squares of the perplexity ratio on the checkpoint index, by blocks of tokens; and which tokens are level."""
    tokens, n = nll.shape
    x = np.arange(n) - (n - 1) / 2
    sxx, average = float(x @ x), np.full(n, 1 / n)
    slope, sse, level = np.empty(tokens), np.empty(tokens), np.empty(tokens, bool)
    r1 = np.zeros(tokens)
    for a in range(0, tokens, _BLOCK):
        block = slice(a, a + _BLOCK)
        y = nll[block].astype(np.float64)
        level[block] = _level(y, y @ average)
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


def _level(nll: NDArray[np.float64], middle: NDArray[np.float64], tolerance: float = 0.05) -> NDArray[np.bool_]:
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


def _mann_kendall(nll: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
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


# ---- one group of tokens in models of other sizes


def trace(
    nll: Mapping[str, ArrayLike], selected_M: ArrayLike, ppl: Mapping[str, ArrayLike] | None = None
) -> pd.DataFrame:
    """The perplexity of a group of tokens along each model: a row per model × checkpoint.

    ``nll`` holds an (M, C) matrix for each model, over the same tokens; C may differ. ``ppl`` is each model's own
    perplexity at its checkpoints, by default that of all M tokens. Columns: model, checkpoint, ppl, group_ppl, where
    group_ppl = exp(mean nll of the selected tokens).
    """
    selected = np.asarray(selected_M, dtype=bool)
    if not selected.any():
        raise ValueError("selected_M holds no token: there is nothing to trace")
    frames = []
    for model, matrix in nll.items():
        nll_MC, _ = _checked(matrix, None)
        if len(nll_MC) != len(selected):
            raise ValueError(
                f"{model} has {len(nll_MC)} tokens, selected_M {len(selected)}: they must be the same probe"
            )
        own = np.exp(nll_MC.mean(axis=0, dtype=float)) if ppl is None else np.asarray(ppl[model], dtype=float)
        group = np.exp(nll_MC[selected].mean(axis=0, dtype=float))
        frames.append(pd.DataFrame({"model": model, "checkpoint": range(len(own)), "ppl": own, "group_ppl": group}))
    return pd.concat(frames, ignore_index=True)


def at_matched_perplexity(traced: pd.DataFrame, levels: ArrayLike | None = None) -> pd.DataFrame:
    """The group's perplexity where each model first reaches the same perplexity: a row per model × level.

    Linear in logarithms between checkpoints; NaN at levels that a model never spans. ``levels`` defaults to seven over
    the range that all models share. ``spread`` is the largest ÷ the smallest group perplexity of a level less one: near 0
    where models of all sizes treat the tokens alike.
    """
    reached = traced.groupby("model", sort=False)["ppl"].agg(["min", "max"])
    if levels is None:
        levels = np.geomspace(reached["max"].min(), reached["min"].max(), 7)
    levels = np.asarray(levels, dtype=float)
    frames = [
        pd.DataFrame({"model": model, "level": levels, "group_ppl": _first_crossing(frame, levels)})
        for model, frame in traced.groupby("model", sort=False)
    ]
    table = pd.concat(frames, ignore_index=True)
    by_level = table.groupby("level")["group_ppl"]
    table["spread"] = by_level.transform("max") / by_level.transform("min") - 1
    return table


def _first_crossing(frame: pd.DataFrame, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    ppl, group = np.log(frame["ppl"].to_numpy()), np.log(frame["group_ppl"].to_numpy())
    found = np.full(len(levels), np.nan)
    for k, level in enumerate(np.log(levels)):
        below = np.flatnonzero(ppl <= level + 1e-12)
        if not len(below) or (below[0] == 0 and ppl[0] < level - 1e-12):
            continue
        j = below[0]
        w = 0.0 if j == 0 or ppl[j - 1] == ppl[j] else (ppl[j - 1] - level) / (ppl[j - 1] - ppl[j])
        found[k] = np.exp(group[j] if j == 0 else group[j - 1] + min(w, 1.0) * (group[j] - group[j - 1]))
    return found


@dataclass(frozen=True)
class DoubleDescent:
    """The tokens that one model unlearns, followed through models of all sizes."""

    reference: str
    """The model whose upward tokens they are."""
    selected_M: NDArray[np.bool_]
    traced: pd.DataFrame
    """As from `trace`."""
    summary: pd.DataFrame
    """A row per model: upward_share of these tokens there, first_ppl, peak_ppl, last_ppl, ppl_at_peak, fall."""

    def table(self) -> pd.DataFrame:
        """The summary."""
        return self.summary


def double_descent(
    nll: Mapping[str, ArrayLike],
    reference: str,
    start: int | float = 0.1,
    ppl: Mapping[str, ArrayLike] | None = None,
    adjust: str | None = None,
    at: Mapping[str, ArrayLike] | None = None,
) -> DoubleDescent | None:
    """The tokens upward in ``reference``, traced through all models; None where it has none.

    ``fall`` is peak ÷ last perplexity of the group less one, from ``start`` on: over 0 where a model learns again what it
    had unlearned, the double descent of methods.md §5. ``ppl`` is as in `trace`; ``at`` places each model's checkpoints as
    ``at_C`` of `classify_trends` does. In the reference itself the group rises by selection, part of
    which is noise; the evidence is in the other models.
    """
    at = at or {}
    trend = classify_trends(nll[reference], start, adjust=adjust, at_C=at.get(reference))["trend"]
    selected = (trend == "upward").to_numpy()
    if not selected.any():
        return None
    traced = trace(nll, selected, ppl)
    rows = []
    for model, frame in traced.groupby("model", sort=False):
        matrix, places = _checked(nll[str(model)], at.get(str(model)))
        column = _column(start, places)
        frame = frame.iloc[column:]
        trend = classify_trends(matrix[selected], column, adjust=adjust)["trend"]
        peak = frame.loc[frame["group_ppl"].idxmax()]
        last = frame["group_ppl"].iloc[-1]
        rows.append(
            {
                "model": model,
                "tokens": int(selected.sum()),
                "upward_share": float((trend == "upward").mean()),
                "first_ppl": frame["group_ppl"].iloc[0],
                "peak_ppl": peak["group_ppl"],
                "last_ppl": last,
                "ppl_at_peak": peak["ppl"],
                "fall": peak["group_ppl"] / last - 1,
            }
        )
    return DoubleDescent(reference, selected, traced, pd.DataFrame(rows))


# ---- kinds of tokens


def part_of_word(piece: str) -> str:
    """Where in a word a tokenizer's piece stands: word start, continuation, number, punctuation, space or special.

    Reads the marks of byte-level BPE (``Ġ``, ``Ċ``), SentencePiece (``▁``) and WordPiece (``##``), or a plain space. A word
    at the very start of a text has no mark in byte-level BPE and counts as a continuation.
    """
    if piece.startswith("<") and piece.endswith(">") and len(piece) > 2:
        return "special"
    bare = piece.removeprefix("##").lstrip(_MARKS)
    if not bare:
        return "space"
    if bare[0].isdigit():
        return "number"
    if not any(c.isalpha() for c in bare):
        return "punctuation"
    return "word start" if piece[0] in "Ġ▁ " else "continuation"


def token_kinds(trend: pd.Series | ArrayLike, probes: pd.DataFrame, bins: int = 5) -> pd.DataFrame:
    """Which kinds of tokens go which way: a row per property × level × trend.

    ``probes`` has a row per token, in the order of ``trend``, with any of ``frequency`` (occurrences in the training
    text) and ``position`` (in the context), both cut at quantiles into ``bins``, and ``token`` (the tokenizer's piece), read by
    `part_of_word`. Columns: property, level, trend, count, share (within the level), lift (share ÷ the trend's overall
    share). Raises ValueError where rows don't match or no property is there.
    """
    kinds = pd.Series(np.asarray(trend)).astype(str)
    if len(kinds) != len(probes):
        raise ValueError(f"{len(kinds)} trends for {len(probes)} probe tokens: they must be the same tokens in order")
    levels = _levels(probes.reset_index(drop=True), bins)
    if not levels:
        raise ValueError(f"probes has columns {list(probes)}: expected any of frequency, position, token")
    overall = kinds.value_counts(normalize=True)
    rows = []
    for name, level in levels.items():
        for value, group in kinds.groupby(level, observed=True, sort=True):
            for kind in TRENDS:
                count = int((group == kind).sum())
                share = count / len(group)
                lift = share / overall[kind] if kind in overall else np.nan
                rows.append((name, str(value), kind, count, share, lift))
    return pd.DataFrame(rows, columns=["property", "level", "trend", "count", "share", "lift"])


def _levels(probes: pd.DataFrame, bins: int) -> dict[str, pd.Series]:
    levels = {
        name: pd.qcut(probes[name], bins, duplicates="drop") for name in ("frequency", "position") if name in probes
    }
    if "token" in probes and probes["token"].notna().all():
        levels["part of word"] = probes["token"].map(part_of_word)
    return levels


# ---- from the table


def nll_matrix(tokens: pd.DataFrame) -> tuple[NDArray[np.float64], pd.DataFrame]:
    """Losses (M, C) and the checkpoints (interval, tokens, step) of one run and variant of the table `tokens`.

    Raises ValueError where a probe token lacks a checkpoint or has two: a trend over a hole would be another trend.
    """
    wide = tokens.pivot_table(index="probe", columns="interval", values="nll", aggfunc=["first", "size"])
    counts = wide["size"].to_numpy()
    if not (counts == 1).all():
        probe, interval = np.argwhere(counts != 1)[0]
        raise ValueError(
            f"table tokens: probe {wide.index[probe]} at interval {wide['size'].columns[interval]} "
            f"has {np.nan_to_num(counts[probe, interval]):.0f} rows, expected one; evaluate that checkpoint again"
        )
    keep = [c for c in ("interval", "tokens", "step") if c in tokens]
    marks = tokens[keep].drop_duplicates("interval").sort_values("interval", ignore_index=True)
    return wide["first"].to_numpy(), marks
