"""Several conditions of one experiment: final and best losses, and each condition against the one that ended lowest.

The differences, their bands and the decisions are those of `trajlab.analysis.compare`. Nothing here pools over conditions.
Conditions C, seeds S, intervals K.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from trajlab.analysis.compare import compare
from trajlab.analysis.conditions import Condition
from trajlab.analysis.figures.style import human_count
from trajlab.analysis.load import swept_values, without_seed
from trajlab.analysis.report.summary import Curves, common_curves, number
from trajlab.analysis.statistics.cross_fitting import cross_fitted
from trajlab.analysis.statistics.intervals import t_interval

BAND = "holds at all intervals and for all conditions at once; from trajlab.analysis.compare"
"""What the simultaneous band is."""

ALPHA = 0.05

SAID = 3
"""Pairs up to which each has its sentence in the first screen; more are summed up there and said in a fold."""

BETTER, LIKELY, OPEN, SINGLE, ALONE = "worse", "probably worse", "not told apart", "one seed", "not comparable"
SHORTER = "lower at equal tokens"
"""What another condition is beside the one that ended lowest; `SHORTER` is one that ended sooner, below it by then."""


@dataclass(frozen=True)
class Comparison:
    """The conditions of one experiment and split, each against the one with the lowest mean final loss."""

    experiment: str
    reference: str
    conditions: list[Condition]
    """By their mean final loss, the lowest first."""
    losses: pd.DataFrame
    """A row per condition: condition, seeds, best loss and final loss with 95 % intervals, tokens at best."""
    pairs: pd.DataFrame
    """A row per other condition: condition, verdict, difference at the end (nats) with its interval, ahead from (tokens), p."""
    differences: pd.DataFrame
    """A row per other condition × interval: condition, tokens, n, difference (other − reference, nats), band_low, band_high."""
    sentences: list[str]
    """What the first screen says."""
    each: list[str]
    """A sentence for each pair."""


@dataclass(frozen=True)
class _Pair:
    row: dict[str, object]
    band: pd.DataFrame
    words: str


def comparisons(found: list[Condition]) -> list[Comparison]:
    """A comparison for every experiment and split with several conditions; ``found`` in the order of `conditions`."""

    def key(condition: Condition) -> tuple[str, str]:
        return str(condition.intervals["experiment"].iloc[0]), str(condition.intervals["split"].iloc[0])

    groups = [(k, list(g)) for k, g in groupby(sorted(found, key=key), key=key)]
    return [_compared(experiment, own) for (experiment, _), own in groups if len(own) > 1]


def _compared(experiment: str, own: list[Condition]) -> Comparison:
    losses = pd.DataFrame([_losses(c) for c in own]).sort_values("final loss (nats)", kind="stable", na_position="last")
    own = [own[place] for place in losses.index]
    reference, others = own[0], own[1:]
    pairs = [_pair(reference, c, len(others)) for c in others]
    each = [p.words for p in pairs]
    table = pd.DataFrame([p.row for p in pairs])
    sentences = each if len(each) <= SAID else [_summed_up(setting(reference), losses, table)]
    bands = [p.band for p in pairs if not p.band.empty]
    differences = pd.concat(bands, ignore_index=True) if bands else pd.DataFrame()
    return Comparison(
        experiment, setting(reference), own, losses.reset_index(drop=True), table, differences, sentences, each
    )


def _losses(condition: Condition) -> dict[str, object]:
    row: dict[str, object] = {"condition": setting(condition)}
    curves = common_curves(condition.intervals)
    for what in ("final", "best"):
        mean, low, high = (np.nan,) * 3 if curves is None else _mean_of(curves, what)
        row |= {f"{what} loss (nats)": mean, f"{what}: 95 % CI from": low, f"{what}: to": high}
    return row | {
        "tokens at best": np.nan if curves is None else curves.tokens_K[curves.best],
        "seeds": condition.seeds,
    }


def _mean_of(curves: Curves, what: str) -> tuple[float, float, float]:
    """The mean at the last or at the lowest interval; the interval of the lowest is cross-fitted, since the data chose it."""
    values_S = curves.loss_SK[:, curves.best if what == "best" else -1]
    mean = float(values_S.mean())
    if len(values_S) == 1:
        return mean, np.nan, np.nan
    if what == "best":
        return mean, *cross_fitted(curves.loss_SK)[1:]
    return mean, *t_interval(mean, _error(values_S), len(values_S))


def _error(values_S: np.ndarray) -> float:
    return float(values_S.std(ddof=1) / np.sqrt(len(values_S))) if len(values_S) > 1 else float("nan")


def setting(condition: Condition) -> str:
    """What was swept and its value, as the runs' names have it: ``optimizer.lr=0.003``; ``as configured`` where nothing was."""
    return without_seed(str(condition.intervals["run"].iloc[0])) or "as configured"


def swept_number(own: list[Condition]) -> tuple[str, list[float]] | None:
    """The one key that was swept over numbers, and each condition's value; None where conditions differ in anything else."""
    values = [swept_values(setting(c)) for c in own]
    keys = {key for v in values for key in v}
    if len(keys) != 1 or not all(len(v) == 1 for v in values):
        return None
    (key,) = keys
    numbers = [v[key] for v in values]
    found = [n for n in numbers if isinstance(n, float) and np.isfinite(n)]
    return (key, found) if len(set(found)) == len(own) else None


# ---- one pair


def _pair(reference: Condition, other: Condition, family: int) -> _Pair:
    """``other`` against ``reference``, one of ``family`` such comparisons."""
    a, b = setting(reference), setting(other)
    try:
        frame, seeds = _shared(reference, other)
        if frame.groupby("which")["seed"].nunique().min() < 2:
            return _single(a, b, frame, bool(seeds))
        found = compare(frame, "reference", "other", column="which", level=1 - ALPHA / family)
    except ValueError as e:
        return _Pair({"condition": b, "verdict": ALONE}, pd.DataFrame(), f"{b} can't be held against {a}: {e}.")
    band = found.band.rename(columns={"low": "band_low", "high": "band_high"})
    band = band.assign(condition=b, n=min(found.runs))[
        ["condition", "tokens", "n", "difference", "band_low", "band_high"]
    ]
    last, ahead = found.band.iloc[-1], _ahead_from(found.band)
    low, high = _end_interval(frame, found.paired)
    verdict = BETTER if ahead is not None else LIKELY if low > 0 else SHORTER if high < 0 else OPEN
    row: dict[str, object] = {"condition": b, "verdict": verdict, "difference at the end (nats)": last["difference"]}
    row |= {"95 % CI from": low, "to": high, "ahead from (tokens)": ahead, "p": min(1.0, found.p * family)}
    paired = f"{number(seeds)} seeds paired" if found.paired else f"{found.runs[0]} against {found.runs[1]} runs"
    return _Pair(row, band, _words(a, b, last, (low, high), ahead, paired))


def _single(a: str, b: str, frame: pd.DataFrame, same_seed: bool) -> _Pair:
    """One run on a side: what the difference is, and that nobody knows how sure it is."""
    mean = frame.groupby(["which", "tokens"])["loss"].mean()
    difference = (mean["other"] - mean["reference"]).rename("difference").reset_index()
    band = difference.assign(condition=b, n=1, band_low=np.nan, band_high=np.nan)
    last = difference.iloc[-1]
    row: dict[str, object] = {"condition": b, "verdict": SINGLE, "difference at the end (nats)": last["difference"]}
    why = "they share one seed" if same_seed else "one of them has a single run"
    words = f"{_ended(a, b, last)}; {why}, so nothing says how sure that is."
    return _Pair(row, band[["condition", "tokens", "n", "difference", "band_low", "band_high"]], words)


def _ended(a: str, b: str, last: pd.Series) -> str:
    way = "lower" if last["difference"] >= 0 else "higher"
    return f"{a} ended {abs(last['difference']):.3f} nats {way} than {b}, at {human_count(last['tokens'])} tokens"


def _shared(reference: Condition, other: Condition) -> tuple[pd.DataFrame, int]:
    """Rows of both at tokens that all their runs have, of the seeds that both have (of all, where they share none).

    Raises ValueError where nothing can be held against each other.
    """
    parts = [c.intervals.assign(which=w) for c, w in ((reference, "reference"), (other, "other"))]
    seeds = set(parts[0]["seed"]) & set(parts[1]["seed"])
    if seeds:
        parts = [p[p["seed"].isin(seeds)] for p in parts]
    tokens = [p.groupby("tokens")["seed"].nunique() for p in parts]
    at = set.intersection(*(set(t.index[t == p["seed"].nunique()]) for t, p in zip(tokens, parts, strict=True)))
    if not at:
        raise ValueError("they were evaluated at other tokens; trajlab.analysis.align puts them on common ones")
    frame = pd.concat([p[p["tokens"].isin(at)] for p in parts])
    return frame.assign(interval=frame["tokens"].rank(method="dense").astype(int)), len(seeds)


def _ahead_from(band: pd.DataFrame) -> float | None:
    """Tokens from which the difference lies above 0 to the end, by a band that holds everywhere; None where it doesn't."""
    apart_K = (band["differs"] & (band["difference"] > 0)).to_numpy(bool)
    if not apart_K[-1]:
        return None
    start = 0 if apart_K.all() else len(apart_K) - int(np.argmin(apart_K[::-1]))
    return float(band["tokens"].iloc[start])


def _end_interval(frame: pd.DataFrame, paired: bool) -> tuple[float, float]:
    """95 % t interval of the difference at the last tokens alone; Welch's where runs aren't paired."""
    last = frame[frame["tokens"] == frame["tokens"].max()]
    a, b = (last[last["which"] == w].set_index("seed")["loss"] for w in ("reference", "other"))
    if paired:
        d = (b - a).to_numpy(float)
        low, high = t_interval(float(d.mean()), _error(d), len(d))
        return float(low), float(high)
    from scipy.stats import ttest_ind

    interval = ttest_ind(b, a, equal_var=False).confidence_interval()
    return float(interval.low), float(interval.high)


def _words(a: str, b: str, last: pd.Series, ci: tuple[float, float], ahead: float | None, paired: str) -> str:
    """Which is better, from where on, by how much, how sure."""
    at = f"at {human_count(last['tokens'])} tokens"
    if ahead is not None:
        by = _by(last["difference"], "band", last["low"], last["high"])
        return (
            f"{a} is better than {b} from {human_count(ahead)} tokens on: {at} it ended {by}. The band holds at all intervals "
            f"at once; {paired}."
        )
    by = _by(last["difference"], "95 % CI", *ci)
    if ci[0] > 0:
        return (
            f"{a} is probably better than {b}: {at} it ended {by}, {paired}; but a band that holds at all intervals at once "
            f"includes 0 there."
        )
    if ci[1] < 0:
        below = _by(-last["difference"], "95 % CI", -ci[1], -ci[0])
        return f"{a} ended lowest, but {at}, the last that both have, {b} was {below}, {paired}."
    if last["difference"] == 0 and ci[0] == ci[1]:
        return f"{a} and {b} ended alike: {at} their losses are equal, {paired}."
    return f"{a} or {b}: not settled. A{at[1:]} {a} ended {by}, {paired}: that may be chance."


def _by(difference: float, what: str, low: float, high: float) -> str:
    """``lower by 0.661 nats (95 % CI 0.415 to 0.907)``, in the direction of the difference."""
    if difference < 0:
        difference, low, high = -difference, -high, -low
        return f"higher by {difference:.3f} nats ({what} {_plain(low)} to {_plain(high)})"
    return f"lower by {difference:.3f} nats ({what} {_plain(low)} to {_plain(high)})"


def _plain(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _summed_up(reference: str, losses: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """One sentence on many conditions."""
    best = losses.iloc[0]
    counts = pairs["verdict"].value_counts()
    text = f"Of {number(len(losses))} conditions {reference} ended lowest, {best['final loss (nats)']:.3f} nats."
    if clear := int(counts.get(BETTER, 0)):
        rest = "all others" if clear == len(pairs) else f"{number(clear)} of the {number(len(pairs))} others"
        text += f" It is better than {rest} by bands that hold at all intervals and for all conditions at once."
    near = pairs.loc[pairs["verdict"].isin([LIKELY, OPEN]), "condition"].tolist()
    if near:
        shown = ", ".join(near[:4]) + (f" and {number(len(near) - 4)} more" if len(near) > 4 else "")
        text += f" Not told apart from it: {shown}."
    if sooner := pairs.loc[pairs["verdict"] == SHORTER, "condition"].tolist():
        text += f" Lower than it by the last tokens that both have: {', '.join(sooner)}."
    if alone := int(counts.get(ALONE, 0)) + int(counts.get(SINGLE, 0)):
        text += f" Of {number(alone)} nothing can be said for sure: one seed, or other intervals."
    return text
