"""What the tokens bought (docs/methods.md §1): price of each interval, where the best lies, when one could have stopped.

Reads table `intervals` of one condition: several seeds, one variant, one split.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.conditions import refuse_other_tokens, refuse_several
from trajlab.analysis.stability import stability
from trajlab.analysis.statistics.grids import complete_grid

MILLION = 1e6
EXAFLOP = 1e18
FLOPS_PER_PARAMETER_TOKEN = 6
"""Forward and backward pass (Kaplan et al. 2020), embeddings counted."""


def returns(intervals: pd.DataFrame, parameters: int | None = None) -> pd.DataFrame:
    """Per interval, means over seeds: what it cost and how much loss it removed.

    Columns: interval, tokens, loss, bought (loss removed since the interval before, nats), and bought per million tokens, per
    hour of training and per exaFLOP (6·parameters·tokens), bought_total and share_of_tokens since the start. Negative where
    loss rose; nan where ``seconds_train`` or ``parameters`` isn't known.

    >>> from trajlab.analysis import load_runs
    >>> returns(load_runs("runs/demo").intervals)[["tokens", "loss", "bought"]].round(2).head(3)
          tokens  loss  bought
    0        0.0  8.35     NaN
    1  1000038.0  3.05    5.30
    2  2000076.0  2.81    0.25
    """
    refuse_several(intervals)
    refuse_other_tokens(intervals)
    grid = complete_grid(intervals, "loss", "interval", "seed", min_subjects=1)
    by = intervals.groupby("interval")
    tokens, loss = by["tokens"].mean(), grid.mean()
    spent = tokens.diff()
    seconds = by["seconds_train"].mean() if "seconds_train" in intervals else pd.Series(np.nan, tokens.index)
    exaflops = FLOPS_PER_PARAMETER_TOKEN * (parameters or np.nan) * spent / EXAFLOP
    bought = -loss.diff()
    table = pd.DataFrame(
        {
            "tokens": tokens,
            "loss": loss,
            "bought": bought,
            "per_million_tokens": bought / (spent / MILLION),
            "per_hour": bought / (seconds / 3600),
            "per_exaflop": bought / exaflops,
            "bought_total": loss.iloc[0] - loss,
            "share_of_tokens": (tokens - tokens.iloc[0]) / (tokens.iloc[-1] - tokens.iloc[0]),
        }
    )
    return table.reset_index()


@dataclass(frozen=True)
class BestInterval:
    """Where the mean loss over seeds is lowest, and how sure that place is."""

    interval: int
    tokens: float
    loss: float
    interval_low: int
    interval_high: int
    """95 % percentile bootstrap over seeds; equal to ``interval`` where there is one seed."""
    tokens_low: float
    tokens_high: float
    share_after: float
    """Share of the token budget spent after the best interval."""
    per_seed: tuple[int, ...]
    """The best interval of each seed."""

    def table(self) -> pd.DataFrame:
        """One row."""
        return pd.DataFrame([{**vars(self), "per_seed": ", ".join(map(str, self.per_seed))}])


def best_interval(
    intervals: pd.DataFrame, *, level: float = 0.95, n_bootstrap: int = 2000, seed: int = 0
) -> BestInterval:
    """The interval of the lowest mean loss, with a seed-bootstrap interval for its location.

    Each resample picks its own best, so the choice itself is in the interval. Raises ValueError as `complete_grid` does.

    >>> from trajlab.analysis import load_runs
    >>> best = best_interval(load_runs("runs/demo").intervals)
    >>> best.interval, best.per_seed, round(best.loss, 2), best.share_after
    (2, (2, 2, 2), 2.81, 0.8)
    """
    refuse_several(intervals)
    refuse_other_tokens(intervals)
    grid = complete_grid(intervals, "loss", "interval", "seed", min_subjects=1)
    y_SK = grid.to_numpy()
    tokens_K = intervals.groupby("interval")["tokens"].mean().to_numpy()
    best = int(y_SK.mean(0).argmin())
    low, high = place_interval(y_SK, level=level, n_bootstrap=n_bootstrap, seed=seed)
    return BestInterval(
        interval=int(grid.columns[best]),
        tokens=float(tokens_K[best]),
        loss=float(y_SK.mean(0)[best]),
        interval_low=int(grid.columns[low]),
        interval_high=int(grid.columns[high]),
        tokens_low=float(tokens_K[low]),
        tokens_high=float(tokens_K[high]),
        share_after=float((tokens_K[-1] - tokens_K[best]) / (tokens_K[-1] - tokens_K[0])),
        per_seed=tuple(int(grid.columns[i]) for i in y_SK.argmin(1)),
    )


def place_interval(
    y_SK: NDArray[np.float64], *, level: float = 0.95, n_bootstrap: int = 2000, seed: int = 0
) -> tuple[int, int]:
    """Percentiles of the place of the lowest mean over resampled seeds."""
    draws_BS = np.random.default_rng(seed).integers(0, len(y_SK), (n_bootstrap, len(y_SK)))
    counts_BS = np.stack([(draws_BS == s).sum(1) for s in range(len(y_SK))], axis=1)
    places_B = (counts_BS @ y_SK).argmin(1)
    low, high = np.quantile(places_B, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return int(low), int(high)


STOPPING = {
    "first backslide": "the first interval whose loss is above the one before",
    "backslide beyond 2 se": "the first such rise beyond twice its paired standard error",
    "interval spike": "the first rise beyond median + 3·1.4826·MAD of the earlier changes",
    "stable phase": "the third interval of the first stable phase",
    "whole budget": "the last interval",
}
"""Criteria of docs/methods.md §1 read as rules for stopping; each is known at the interval where it stops."""


def stop_here(intervals: pd.DataFrame, *, stable_length: int = 3) -> pd.DataFrame:
    """When each criterion would have stopped each seed and what that would have cost.

    A row per criterion × seed: criterion, seed, interval, tokens, loss at the stop; ``regret`` the loss there minus the
    seed's lowest (nats, 0 is perfect), ``kept_regret`` the same if the best snapshot so far is kept; ``tokens_after_best``
    tokens spent after the seed's best interval (negative: stopped before it); ``fired`` False where the criterion never
    did and the whole budget was spent. Raises ValueError where the rows hold several conditions, variants or splits.
    """
    refuse_several(intervals)
    telemetry = stability(intervals, stable_length=stable_length)
    rows = [
        _stop(criterion, seed, curve.reset_index(drop=True), stable_length)
        for criterion in STOPPING
        for seed, curve in telemetry.groupby("seed")
    ]
    return pd.DataFrame(rows)


def _stop(criterion: str, seed: object, curve: pd.DataFrame, stable_length: int) -> dict[str, object]:
    signal = {
        "first backslide": curve["backslide"],
        "backslide beyond 2 se": curve["backslide_2se"].fillna(False).astype(bool),
        "interval spike": curve["spike"],
        "stable phase": curve["stable"].cumsum() >= stable_length,
        "whole budget": curve.index == curve.index[-1],
    }[criterion]
    fired = bool(np.any(signal))
    at = int(np.argmax(signal)) if fired else len(curve) - 1
    best = int(curve["loss"].argmin())
    return {
        "criterion": criterion,
        "seed": seed,
        "interval": curve["interval"][at],
        "tokens": curve["tokens"][at],
        "loss": curve["loss"][at],
        "regret": curve["loss"][at] - curve["loss"][best],
        "kept_regret": curve["loss"][: at + 1].min() - curve["loss"][best],
        "tokens_after_best": curve["tokens"][at] - curve["tokens"][best],
        "fired": fired,
    }


def stopping_summary(stops: pd.DataFrame) -> pd.DataFrame:
    """`stop_here` over seeds: fired (share), mean interval, tokens, regret, kept_regret, tokens_after_best, worst regret."""
    means = ["interval", "tokens", "regret", "kept_regret", "tokens_after_best", "fired"]
    groups = stops.groupby("criterion", sort=False)
    return groups[means].mean().assign(worst_regret=groups["regret"].max()).reset_index()
