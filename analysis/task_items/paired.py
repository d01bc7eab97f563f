"""Two checkpoints, or two models, on the same questions (docs/task_items.md). Shapes: M questions, B resamples.

Questions differ far more than models do: a test that takes the two accuracies for independent samples adds the spread of
the questions twice, and can neither hold its level nor see what pairing sees.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

from trajlab.analysis.statistics.intervals import t_interval
from trajlab.analysis.task_items.grid import aligned

RESAMPLES = 1_999


@dataclass(frozen=True)
class Paired:
    """The mean of second − first over the questions, its interval, and the p of no difference."""

    n: int
    difference: float
    low: float
    high: float
    p: float
    only_first: int
    """Questions on which the first alone is better."""
    only_second: int


def mcnemar(first_M: ArrayLike, second_M: ArrayLike, level: float = 0.95) -> Paired:
    """McNemar's exact test of two models that are right (1) or wrong (0) on the same questions.

    p is that of the binomial, two-sided, over the questions on which one alone is right; where tasks give parts it is the
    sign test. The interval of the difference is Tango's score interval (1998, doi:10.1002/(SICI)1097-0258(19980430)17:8
    <891::AID-SIM780>3.0.CO;2-B), and Student's where there are parts.

    >>> found = mcnemar([1, 1, 0, 0, 0, 0, 0, 0], [1, 0, 1, 1, 1, 1, 1, 0])
    >>> print(f"{found.difference} {found.p:.4f}")
    0.5 0.2188
    """
    d_M = _differences(first_M, second_M)
    b, c = int((d_M < 0).sum()), int((d_M > 0).sum())
    p = float(stats.binomtest(c, b + c).pvalue) if b + c else 1.0
    whole = bool(np.isin(d_M, (-1, 0, 1)).all())
    low, high = tango(b, c, len(d_M), level) if whole else _student(d_M, level)
    return Paired(len(d_M), float(d_M.mean()), low, high, p, b, c)


def paired_permutation(
    first_M: ArrayLike, second_M: ArrayLike, level: float = 0.95, n_resamples: int = RESAMPLES, seed: int = 0
) -> Paired:
    """Sign-flip test of the mean difference of any number per question, such as bits per byte.

    Exact if a question's difference is as likely up as down where there is no effect; the p counts the data themselves
    among the resamples. The interval is Student's over questions. Raises ValueError for values that are not finite.
    """
    d_M = _differences(first_M, second_M)
    moved_M = d_M[d_M != 0]
    rng = np.random.default_rng(seed)
    observed, at_least = abs(moved_M.sum()) * (1 - 1e-12), 0
    chunk = max(1, 4_000_000 // max(len(moved_M), 1))
    for start in range(0, n_resamples, chunk):
        shape = (min(chunk, n_resamples - start), len(moved_M))
        flipped_B = (rng.integers(0, 2, shape, dtype=np.int8) * 2.0 - 1) @ moved_M
        at_least += int((np.abs(flipped_B) >= observed).sum())
    p = (at_least + 1) / (n_resamples + 1) if len(moved_M) else 1.0
    low, high = _student(d_M, level)
    return Paired(len(d_M), float(d_M.mean()), low, high, p, int((d_M < 0).sum()), int((d_M > 0).sum()))


def _differences(first_M: ArrayLike, second_M: ArrayLike) -> NDArray[np.float64]:
    first, second = np.asarray(first_M, dtype=float), np.asarray(second_M, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"shapes {first.shape} and {second.shape}: expected the same questions, in one order")
    if not np.isfinite(first - second).all():
        raise ValueError("a value is not finite: leave out the questions that one of the two wasn't asked")
    return np.asarray(second - first)


def _student(d_M: NDArray[np.float64], level: float) -> tuple[float, float]:
    if len(d_M) < 2:
        return float("nan"), float("nan")
    low, high = t_interval(float(d_M.mean()), float(d_M.std(ddof=1) / np.sqrt(len(d_M))), len(d_M), level)
    return float(low), float(high)


def tango(b: int, c: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of (c − b)/n: the differences that the data don't reject, the rest of the table at its likeliest."""
    z = float(stats.norm.ppf((1 + level) / 2))

    def score(delta: float) -> float:
        linear = -b - c + (2 * n - b + c) * delta
        root = np.sqrt(max(linear**2 + 8 * n * c * delta * (1 - delta), 0.0))
        q = (root - linear) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        return float((c - b - n * delta) / np.sqrt(variance)) if variance > 1e-12 else 0.0

    def limit(bound: float, edge: float) -> float:
        estimate = (c - b) / n
        inside = edge * (1 - 1e-9)
        if abs(estimate - edge) < 1e-9 or (score(inside) - bound) * (0.0 - bound) > 0:
            return edge
        return float(optimize.brentq(lambda x: score(x) - bound, *sorted((estimate, inside))))

    return limit(z, -1.0), limit(-z, 1.0)


def compare_items(first: pd.DataFrame, second: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Second − first by task, and over all questions: a row each.

    The frames hold task, item, digest, correct and bits, as `ItemGrid.at` gives them, of two checkpoints or two models;
    questions that one of them wasn't asked are left out. Columns: task, n, accuracy (first, second), difference with its
    interval, only_first, only_second, p (McNemar, exact), p_holm over the tasks (not for all together); bits_difference
    (bits per byte of the right option: below 0 the second is better) with interval and p_bits (sign flips of the questions).
    Raises ValueError where the two share no question, or a question is another one.
    """
    a, b = aligned((first, second))
    tasks = list(dict.fromkeys(a["task"]))
    rows = [_row(str(t), a[a["task"] == t], b[b["task"] == t], level) for t in tasks]
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("p") + 1, "p_holm", _holm(table["p"].to_numpy(float)))  # type: ignore[arg-type, operator]
    if len(tasks) > 1:
        table = pd.concat([table, pd.DataFrame([_row("all questions", a, b, level)])], ignore_index=True)
    return table


def _row(task: str, a: pd.DataFrame, b: pd.DataFrame, level: float) -> dict[str, object]:
    row: dict[str, object] = {"task": task, "n": len(a)}
    asked = (a["correct"].notna().to_numpy()) & (b["correct"].notna().to_numpy())
    told = np.isfinite(a["bits"].to_numpy(float)) & np.isfinite(b["bits"].to_numpy(float))
    if asked.any():
        x, y = a["correct"].to_numpy(float)[asked], b["correct"].to_numpy(float)[asked]
        found = mcnemar(x, y, level)
        row |= {"accuracy_first": x.mean(), "accuracy_second": y.mean(), "difference": found.difference}
        row |= {"ci_low": found.low, "ci_high": found.high, "only_first": found.only_first}
        row |= {"only_second": found.only_second, "p": found.p}
    else:
        row |= dict.fromkeys(("accuracy_first", "accuracy_second", "difference", "ci_low", "ci_high", "p"), np.nan)
    if told.any():
        bits = paired_permutation(a["bits"].to_numpy(float)[told], b["bits"].to_numpy(float)[told], level)
        row |= {"bits_difference": bits.difference, "bits_low": bits.low, "bits_high": bits.high, "p_bits": bits.p}
    return row


def _holm(p_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's adjusted p of those that are there."""
    adjusted, known = np.full(len(p_T), np.nan), np.isfinite(p_T)
    if known.any():
        adjusted[known] = multipletests(p_T[known], method="holm")[1]
    return adjusted
