"""How many tokens a condition needs to a target loss, runs that never reach it included (docs/statistics.md).

A run that ends above the target is not left out and not given its last tokens: it is censored there. `time_to_target` gives
the Kaplan–Meier median of each condition and compares each with the first.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from trajlab.analysis.averaging_gain import first_reached
from trajlab.analysis.conditions import refuse_several, with_condition
from trajlab.analysis.statistics.intervals import t_interval


@dataclass(frozen=True)
class TimeToTarget:
    """Tokens to one target, by condition."""

    target: float
    runs: pd.DataFrame = field(repr=False)
    """A row per run: condition, seed, tokens (to the target, or the last evaluated), reached."""
    medians: pd.DataFrame = field(repr=False)
    """A row per condition: condition, runs, reached, median, low, high (95 %; nan where it can't be told), holds."""
    differences: pd.DataFrame = field(repr=False)
    """A row per other condition: condition, against, paired, restricted_to, difference, low, high, p_log_rank, holds."""

    def table(self) -> pd.DataFrame:
        """Medians with the comparison beside them, a row per condition."""
        beside = self.differences.drop(columns="holds")
        beside = beside.rename(columns={"low": "difference_low", "high": "difference_high"})
        return self.medians.merge(beside, on="condition", how="left")


def time_to_target(
    frame: pd.DataFrame, target: float, *, dv: str = "loss", column: str = "condition", by: str = "seed"
) -> TimeToTarget:
    """Tokens until ``dv`` of table `intervals` is at or below ``target``, by values of ``column``.

    A run's time is where the straight line between two evaluations crosses the target (`first_reached`); one that never does is
    censored at its last tokens. The median is Kaplan and Meier's (1958, doi:10.1080/01621459.1958.10501452) with the interval of
    its log-log limits. A difference is that of restricted means, min(tokens, ``restricted_to``), where ``restricted_to`` is the shortest
    budget of a run that did not get there: until then all runs were watched. It is paired over ``by`` where both conditions have the
    same values, Welch's otherwise. ``p_log_rank`` takes runs as unpaired, and small samples as large ones; nan without a run that
    reached the target. All hold runs, not text. Raises KeyError without tokens and ``dv``; ValueError where several variants or splits
    are mixed, a value isn't finite, or a run has a token count twice.

    >>> from trajlab import analysis
    >>> runs = analysis.load_runs("runs/demo")
    >>> found = analysis.time_to_target(runs.intervals, target=4.0)
    >>> int(found.medians["reached"].iloc[0]) == len(found.runs)
    True
    """
    if missing := {"tokens", dv, by} - set(frame.columns):
        raise KeyError(f"no column {', '.join(sorted(missing))}: time_to_target reads table intervals")
    frame = with_condition(frame)
    if column not in frame:
        frame = frame.assign(**{column: "all runs"})
    refuse_several(frame, [c for c in ("variant", "split", "experiment") if c != column])
    runs = pd.DataFrame(
        [_time(rows, target, dv) | {"condition": c, by: s} for (c, s), rows in frame.groupby([column, by])]
    )
    medians = pd.DataFrame([_median(c, own) for c, own in runs.groupby("condition", sort=False)])
    groups = [own for _, own in runs.groupby("condition", sort=False)]
    columns = ["condition", "against", "paired", "restricted_to", "difference", "low", "high", "p_log_rank", "holds"]
    differences = pd.DataFrame([_difference(other, groups[0], by) for other in groups[1:]], columns=columns)
    return TimeToTarget(float(target), runs[["condition", by, "tokens", "reached"]], medians, differences)


def _time(rows: pd.DataFrame, target: float, dv: str) -> dict[str, object]:
    rows = rows.sort_values("tokens", kind="stable")
    x_K, y_K = rows["tokens"].to_numpy(float), rows[dv].to_numpy(float)
    if not np.isfinite(y_K).all() or (np.diff(x_K) == 0).any():
        run = rows["run"].iloc[0] if "run" in rows else "a run"
        raise ValueError(f"{run}: a value of {dv} isn't finite or a token count is there twice; leave the rows out")
    tokens = first_reached(x_K, y_K, target)
    return {"tokens": x_K[-1] if np.isnan(tokens) else tokens, "reached": not np.isnan(tokens)}


def _median(condition: Hashable, own: pd.DataFrame) -> dict[str, object]:
    median, low, high = median_with_interval(own["tokens"].to_numpy(float), own["reached"].to_numpy(bool))
    counts = {"condition": condition, "runs": len(own), "reached": int(own["reached"].sum())}
    return counts | {"median": median, "low": low, "high": high, "holds": "runs"}


def median_with_interval(time_S: NDArray[np.float64], reached_S: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Kaplan–Meier median, and its 95 % interval from the log-log limits of the curve; nan for an end that never comes.

    >>> median_with_interval(np.array([1.0, 2.0, 3.0]), np.array([True, True, False]))[0]
    2.0
    """
    if not reached_S.any():
        return np.nan, np.nan, np.nan
    curve = SurvfuncRight(time_S, reached_S.astype(int))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = curve.quantile_ci(0.5, method="cloglog")
    median, low, high = (float(v) if np.isfinite(v) else np.nan for v in (curve.quantile(0.5), low, high))
    return median, low, high


def _difference(other: pd.DataFrame, first: pd.DataFrame, by: str) -> dict[str, object]:
    both = pd.concat([other, first])
    unreached = both.loc[~both["reached"], "tokens"]
    limit = float(unreached.min() if len(unreached) else both["tokens"].max())
    a, b = (own.set_index(by)["tokens"].clip(upper=limit) for own in (first, other))
    paired = set(a.index) == set(b.index)
    mean, low, high = paired_difference((b - a).to_numpy()) if paired else welch_difference(a.to_numpy(), b.to_numpy())
    return {
        "condition": other["condition"].iloc[0],
        "against": first["condition"].iloc[0],
        "paired": paired,
        "restricted_to": limit,
        "difference": mean,
        "low": low,
        "high": high,
        "p_log_rank": log_rank(both["tokens"].to_numpy(), both["reached"].to_numpy(), both["condition"].to_numpy()),
        "holds": "runs",
    }


def paired_difference(change_S: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean with its 95 % t interval; (mean, nan, nan) of one run, and where no spread is seen at all."""
    n, mean = len(change_S), float(change_S.mean())
    error = float(change_S.std(ddof=1)) / n**0.5 if n > 1 else 0.0
    if error <= _rounding(change_S):
        return mean, np.nan, np.nan
    return mean, *t_interval(mean, error, n)


def welch_difference(a_S: NDArray[np.float64], b_R: NDArray[np.float64]) -> tuple[float, float, float]:
    """b − a with Welch's 95 % interval; (difference, nan, nan) where a group has one run, or neither has any spread.

    Runs that all reach the target at the same tokens, or all never, say nothing of how far others would differ.
    """
    difference = float(b_R.mean() - a_S.mean())
    if min(len(a_S), len(b_R)) < 2:
        return difference, np.nan, np.nan
    square_2 = np.array([y.var(ddof=1) / len(y) for y in (a_S, b_R)])
    error = float(np.sqrt(square_2.sum()))
    if error <= _rounding(np.r_[a_S, b_R]):
        return difference, np.nan, np.nan
    df = square_2.sum() ** 2 / (square_2**2 / (np.array([len(a_S), len(b_R)]) - 1)).sum()
    return difference, *t_interval(difference, error, df + 1)


def _rounding(values_S: NDArray[np.float64]) -> float:
    """A standard error that is nothing but rounding."""
    return float(64 * np.finfo(float).eps * np.abs(values_S).max())


def log_rank(time_S: NDArray[np.float64], reached_S: NDArray[np.bool_], group_S: NDArray[np.object_]) -> float:
    """p of the log-rank test (Mantel 1966); nan where no run reached the target, 1 where all that can did so at once.

    At a moment at which every run that is still under way arrives, the groups have what they must; where that is the
    only one, the statistic is 0 ÷ 0.
    """
    if not reached_S.any():
        return np.nan
    moments = np.unique(time_S[reached_S])
    if all((reached_S & (time_S == t)).sum() == (time_S >= t).sum() for t in moments):
        return 1.0
    if all(len(np.unique(group_S[time_S >= t])) == 1 for t in moments):
        return 1.0
    return float(survdiff(time_S, reached_S.astype(int), group_S)[1])
