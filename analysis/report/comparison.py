"""Several conditions of one experiment: final and best losses, differences paired by seed, which is better and how surely.

Conditions C, seeds S, intervals K. Nothing here pools over conditions.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from scipy import stats

from trajlab.analysis.conditions import Condition
from trajlab.analysis.figures.style import human_count
from trajlab.analysis.load import without_seed
from trajlab.analysis.report.summary import common_curves, number
from trajlab.analysis.statistics.intervals import t_interval

BAND = "paired t over seeds, Bonferroni over intervals and conditions"
"""How the simultaneous band is made: it holds at all intervals and for all conditions at once, at the price of width."""


@dataclass(frozen=True)
class Comparison:
    """The conditions of one experiment and split, each against the one with the lowest mean final loss."""

    experiment: str
    reference: str
    conditions: list[Condition]
    losses: pd.DataFrame
    """A row per condition: condition, seeds, best loss and final loss with 95 % intervals, tokens at best."""
    differences: pd.DataFrame
    """A row per other condition × interval: condition, tokens, n, difference (other − reference, nats), low, high."""
    sentences: list[str]


def comparisons(found: list[Condition]) -> list[Comparison]:
    """A comparison for every experiment and split with several conditions; ``found`` in the order of `conditions`."""

    def key(condition: Condition) -> tuple[str, str]:
        return str(condition.intervals["experiment"].iloc[0]), str(condition.intervals["split"].iloc[0])

    groups = [(k, list(g)) for k, g in groupby(sorted(found, key=key), key=key)]
    return [_compared(experiment, own) for (experiment, _), own in groups if len(own) > 1]


def _compared(experiment: str, own: list[Condition]) -> Comparison:
    losses = pd.DataFrame([_losses(c) for c in own])
    reference = own[int(losses["final loss (nats)"].fillna(np.inf).argmin())]
    others = [c for c in own if c is not reference]
    differences = pd.concat([_difference(c, reference, len(others)) for c in others], ignore_index=True)
    words = [_which(c, reference, differences[differences["condition"] == setting(c)]) for c in others]
    return Comparison(experiment, setting(reference), own, losses, differences, words)


def _losses(condition: Condition) -> dict[str, object]:
    row: dict[str, object] = {"condition": setting(condition), "seeds": condition.seeds}
    curves = common_curves(condition.intervals)
    places = {} if curves is None else {"best": curves.best, "final": -1}
    for what in ("best", "final"):
        values_S = np.array([np.nan]) if curves is None else curves.loss_SK[:, places[what]]
        low, high = t_interval(float(values_S.mean()), _error(values_S), len(values_S))
        row |= {f"{what} loss (nats)": values_S.mean(), f"{what}: 95 % CI from": low, f"{what}: to": high}
    return row | {"tokens at best": np.nan if curves is None else curves.tokens_K[curves.best]}


def _error(values_S: np.ndarray) -> float:
    return float(values_S.std(ddof=1) / np.sqrt(len(values_S))) if len(values_S) > 1 else float("nan")


def _difference(other: Condition, reference: Condition, family: int) -> pd.DataFrame:
    """Paired by seed at the token counts that both have."""
    a, b = (c.intervals.pivot_table(index="seed", columns="tokens", values="loss") for c in (other, reference))
    paired = (a - b).dropna(how="all").dropna(axis=1)
    table = pd.DataFrame({"condition": setting(other), "tokens": paired.columns.to_numpy(float), "n": len(paired)})
    mean, error = paired.mean().to_numpy(), (paired.std(ddof=1) / np.sqrt(max(len(paired), 1))).to_numpy()
    level = 1 - 0.05 / max(family * len(table), 1)
    half = stats.t.ppf((1 + level) / 2, max(len(paired) - 1, 1)) * error
    low, high = t_interval(mean, error, len(paired))
    shown = {"difference": mean, "ci_low": low, "ci_high": high}
    return table.assign(**shown, band_low=mean - half, band_high=mean + half)


def setting(condition: Condition) -> str:
    """What was swept and its value, as the runs' names have it: ``optimizer.lr=0.003``; ``as configured`` where nothing was."""
    return without_seed(str(condition.intervals["run"].iloc[0])) or "as configured"


def _which(other: Condition, reference: Condition, d: pd.DataFrame) -> str:
    """Which is better, from where on, by how much, how sure."""
    a, b = setting(reference), setting(other)
    if d.empty or not np.isfinite(d["difference"]).any():
        return f"{b} shares no seed and interval with {a}: nothing can be paired."
    last = d.iloc[-1]
    end = f"{abs(last['difference']):.3f} nats {'lower' if last['difference'] >= 0 else 'higher'} than {b}, at {human_count(last['tokens'])} tokens"
    if not last["n"] > 1:
        return f"{a} ended {end}; they share one seed, so nothing says how sure that is."
    pairs = f"95 % CI of the difference {signed(last['ci_low'])} to {signed(last['ci_high'])}, {number(int(last['n']))} seeds paired"
    apart = (d["band_low"] > 0).to_numpy()
    if apart[-1]:
        start = 0 if apart.all() else len(apart) - int(np.argmin(apart[::-1]))
        since = human_count(d["tokens"].iloc[start])
        return f"{a} is better: it ended {end} ({pairs}), and is ahead from {since} tokens on by a band that holds at all intervals at once."
    if last["ci_low"] > 0:
        return f"{a} is probably better: it ended {end} ({pairs}), but a band that holds at all intervals at once includes 0 there."
    return f"{a} ended {end}, which may be chance ({pairs}): which is better is not settled."


def signed(value: float) -> str:
    """With its sign, a true minus."""
    return f"{value:+.3f}".replace("-", "−")
