"""What the first screen says of one condition, computed: three sentences, five numbers, one line of tests.

Seeds S, intervals K. Only intervals that all seeds of the condition have are read, so that an unfinished seed shortens the
answer and doesn't bend it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.conditions import Condition
from trajlab.analysis.figures.style import human_count
from trajlab.analysis.repeated_measures import rm_anova, sign_flip_test
from trajlab.analysis.report.tables import p_words
from trajlab.analysis.statistics.cross_fitting import at_others_best, cross_fitted
from trajlab.analysis.statistics.intervals import t_interval

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class Curves:
    """The losses of a condition at the intervals that all its seeds have."""

    loss_SK: NDArray[np.float64]
    tokens_K: NDArray[np.float64]
    train_loss: float
    """Mean over seeds at the last interval; nan where it isn't stored."""

    @property
    def best(self) -> int:
        """Index of the interval with the lowest mean loss."""
        return int(self.loss_SK.mean(0).argmin())

    @property
    def after(self) -> float:
        """Share of the tokens that came after the lowest mean loss."""
        span = self.tokens_K[-1] - self.tokens_K[0]
        return float((self.tokens_K[-1] - self.tokens_K[self.best]) / span) if span else 0.0

    @property
    def rise_S(self) -> NDArray[np.float64]:
        """Each seed's loss at the end above its loss at the interval that is best for the *other* seeds.

        A seed doesn't choose the interval that it is measured from: its own luck there would make every rise too large.
        """
        if len(self.loss_SK) == 1:
            return np.array([self.loss_SK[0, -1] - self.loss_SK[0].min()])
        return self.loss_SK[:, -1] - at_others_best(self.loss_SK, self.loss_SK)

    @property
    def rise_interval(self) -> tuple[float, float]:
        """95 % interval of the mean of ``rise_S``; two seeds or more."""
        return cross_fitted(self.loss_SK, -1)[1:]


@dataclass(frozen=True)
class Tile:
    """A number of the first screen: what it is, its value, and what it is ± or of."""

    name: str
    value: str
    note: str = ""


def common_curves(intervals: pd.DataFrame) -> Curves | None:
    """The condition's grid of losses; None with fewer than two intervals that all runs have."""
    grid = intervals.pivot_table(index="run", columns="interval", values="loss").dropna(axis=1)
    grid = grid.loc[:, np.isfinite(grid).all(axis=0)]
    if grid.shape[1] < 2 or intervals["run"].nunique() != len(grid):
        return None
    by = intervals.groupby("interval")
    tokens_K = by["tokens"].mean().reindex(grid.columns).to_numpy(float)
    last = intervals[intervals["interval"] == grid.columns[-1]]
    train = float(last["train_loss"].mean()) if "train_loss" in last else float("nan")
    return Curves(grid.to_numpy(float), tokens_K, train)


def sentences(curves: Curves, floor: float | None = None) -> list[str]:
    """The answer in three sentences: where the loss turned, whether the seeds agree, and against what it is to be seen."""
    return [_turn(curves), _agreement(curves), _beside(curves, floor)]


def _turn(c: Curves) -> str:
    mean_K, tokens = c.loss_SK.mean(0), human_count(c.tokens_K[c.best])
    last = human_count(c.tokens_K[-1])
    if np.ptp(mean_K) <= 1e-9 * abs(mean_K[0]):
        return f"Validation loss did not change: {mean_K[0]:.2f} from the first interval to the last, at {last} tokens."
    if c.best == len(mean_K) - 1:
        return f"Validation loss was lowest at the end, {mean_K[-1]:.2f} at {last} tokens: there is no turn within this budget."
    if c.best == 0:
        return f"Validation loss was never below its first value, {mean_K[0]:.2f}; it ended at {mean_K[-1]:.2f}, at {last} tokens."
    return (
        f"Validation loss was lowest, {mean_K[c.best]:.2f}, at {tokens} tokens and ended at {mean_K[-1]:.2f}; "
        f"{100 * c.after:.0f} % of the budget came after."
    )


def _agreement(c: Curves) -> str:
    n, rise_S = len(c.loss_SK), c.rise_S
    if n == 1:
        return "There is one seed, so nothing can be said of other seeds."
    up = int((rise_S > 0).sum())
    low, high = c.rise_interval
    rise = f"mean rise {_signed(float(rise_S.mean()))} nats (95 % CI {_signed(low)} to {_signed(high)})"
    others = "the other seed" if n == 2 else "the other seeds"
    if up == 0 and c.best == c.loss_SK.shape[1] - 1:
        return f"The {number(n)} seeds agree: none ended higher than at the interval that is best for {others}."
    if up == 0:
        return f"{'Neither seed' if n == 2 else f'None of the {number(n)} seeds'} ended higher than at the interval that is best for {others}."
    who = (
        ("Both seeds" if n == 2 else f"All {number(n)} seeds")
        if up == n
        else f"{number(up).capitalize()} of {number(n)} seeds"
    )
    return f"{who} ended higher than at the interval that is best for {others}: {rise}."


def _beside(c: Curves, floor: float | None) -> str:
    end = c.loss_SK[:, -1]
    words = []
    if np.isfinite(c.train_loss):
        apart = abs(end.mean() - c.train_loss)
        way = f"{apart:.2f} nats {'below' if c.train_loss < end.mean() else 'above'} validation"
        words.append(f"training loss ended at {c.train_loss:.2f}, {way if apart >= 0.005 else 'like validation'}")
    if floor is not None:
        words.append(f"the lowest loss is {c.loss_SK.mean(0).min() - floor:.2f} nats above the entropy floor")
    if not words:
        words.append(
            f"the seeds' losses at the end lie {np.ptp(end):.3f} nats apart"
            if len(end) > 1
            else "training loss isn't stored"
        )
    text = "; ".join(words)
    return text[0].upper() + text[1:] + "."


def averages_sentence(rows: pd.DataFrame) -> str:
    """What the best average gained along the run and how the best ended, paired over runs; empty where there is none.

    ``rows``: one condition and split of table `intervals`, all variants.
    """
    last = rows[rows["interval"] == rows["interval"].max()]
    loss = last.pivot_table(index="run", columns="variant", values="loss")
    if "raw" not in loss or len(loss.columns) < 2:
        return ""
    return f"{_on_the_way(rows)}{_at_the_end(loss)}"


AFTER = 0.1
"""Share of a run after which means over it are taken: before it an average lags behind the first fall."""


def _on_the_way(rows: pd.DataFrame) -> str:
    settled = rows[rows["tokens"] > AFTER * rows["tokens"].max()]
    loss = settled.pivot_table(index=["run", "interval"], columns="variant", values="loss")
    gain = loss.rsub(loss["raw"], axis=0).drop(columns="raw").dropna(axis=1).groupby("run").mean()
    if gain.empty or settled["interval"].nunique() < 2:
        return ""
    best = str(gain.mean().idxmax())
    gain_S = gain[best].to_numpy(float)
    if gain_S.mean() <= 0:
        return "After the first tenth of the run no weight average was lower than the raw weights in the mean. "
    sure = ""
    if len(gain_S) > 1:
        low, high = _interval(gain_S)
        several = ", the best of several" if len(gain.columns) > 1 else ""
        sure = f" (95 % CI {low:.3f} to {high:.3f}{several})".replace("-", "−")
    return f"After the first tenth of the run {best} lay {gain_S.mean():.3f} nats below the raw weights in the mean{sure}. "


def _at_the_end(loss: pd.DataFrame) -> str:
    """``loss`` at the last interval: runs × variants, ``raw`` among them."""
    mean = loss.drop(columns="raw").mean()
    best, count = str(mean.idxmin()), len(mean)
    below_S = (loss["raw"] - loss[best]).dropna().to_numpy(float)
    who = f"Of {number(count)} weight averages {best} ended lowest" if count > 1 else f"The weight average {best} ended"
    sure = ""
    if len(below_S) > 1:
        low, high = _interval(below_S)
        sure = f" (95 % CI {low:.3f} to {high:.3f}{', the best of several' if count > 1 else ''})".replace("-", "−")
    way = "below" if below_S.mean() >= 0 else "above"
    if way == "above" and sure:
        sure = ""
    return f"{who}, {mean.min():.2f}: {abs(below_S.mean()):.3f} nats {way} the raw weights{sure}."


def series_sentences(frame: pd.DataFrame) -> list[str]:
    """What a series of checkpoints came to: ``frame`` has model, tokens and ppl."""
    ordered = frame.sort_values("tokens", kind="stable").groupby("model", sort=False)
    last, lowest = ordered["ppl"].last(), ordered["ppl"].min()
    best, n = str(last.idxmin()), len(last)
    tokens = human_count(float(ordered["tokens"].last()[best]))
    who = (
        f"Of {number(n)} models {best} ended with the lowest perplexity"
        if n > 1
        else f"{best} ended with a perplexity of"
    )
    words = [f"{who}{',' if n > 1 else ''} {last.min():,.1f}, at {tokens} tokens."]
    rose = last.index[last > lowest * (1 + 1e-9)]
    if len(rose):
        worst = (last / lowest).idxmax()
        words.append(
            f"In {number(len(rose))} of {number(n)} the last checkpoint is not the best: that of {worst} is "
            f"{100 * (last[worst] / lowest[worst] - 1):.0f} % above its lowest."
        )
    elif ordered.size().min() > 1:
        words.append(
            "The last checkpoint is the best of every model." if n > 1 else "It is the best of all checkpoints."
        )
    return words


def tiles(c: Curves) -> list[Tile]:
    """Best loss, tokens there, rise to the end, spread of seeds, budget after the best."""
    best_S, n = c.loss_SK[:, c.best], len(c.loss_SK)
    one, turned = "one seed: no interval", c.best < len(c.tokens_K) - 1
    rise = Tile("Rise to the end", "none", "lowest at the end")
    if turned:
        rise = Tile(rise.name, f"{_signed(float(c.rise_S.mean()))} nats", _ci(*c.rise_interval, "+") if n > 1 else one)
    spread = f"{c.loss_SK[:, -1].std(ddof=1):.3f} nats" if n > 1 else "–"
    return [
        Tile("Best loss", f"{best_S.mean():.3f} nats", _ci(*cross_fitted(c.loss_SK)[1:]) if n > 1 else one),
        Tile("Tokens at best", human_count(c.tokens_K[c.best]), f"interval {c.best} of {len(c.tokens_K) - 1}"),
        rise,
        Tile("Spread of seeds", spread, "sd at the end" if n > 1 else one),
        Tile("Budget after best", f"{100 * c.after:.0f} %", f"of {human_count(c.tokens_K[-1])} tokens"),
    ]


def is_it_real(condition: Condition) -> str:
    """One line: the two tests of docs/statistics.md that are to be read, or why there are none."""
    if condition.seeds < 2:
        return "One seed: no test is possible; three or more are needed, six serve well."
    try:
        anova = rm_anova(condition.intervals, "loss", "interval", "seed", n_bootstrap=0)
        flips = sign_flip_test(condition.intervals, "loss", "interval", "seed")
    except ValueError as e:
        return f"Not tested: {e}."
    smallest = ""
    if flips.smallest > 0.05:
        smallest = f"; with {number(condition.seeds)} seeds it can't go below {flips.smallest:.3g}, so it can't reject"
    return (
        f"Does loss change over intervals? ANOVA with Greenhouse–Geisser correction F({anova.df1}, {anova.df2}) = "
        f"{anova.f:,.1f}, {p_words(anova.p_gg)}; sign flips of whole curves {p_words(flips.p)}{smallest}."
    )


def number(n: int) -> str:
    """Small numbers in words."""
    return NUMBERS[n] if n < len(NUMBERS) else f"{n:,}"


def _interval(values_S: NDArray[np.float64]) -> tuple[float, float]:
    return t_interval(float(values_S.mean()), float(values_S.std(ddof=1) / np.sqrt(len(values_S))), len(values_S))


def _ci(low: float, high: float, sign: str = "") -> str:
    return f"95 % CI {low:{sign}.3f} to {high:{sign}.3f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
