"""Where the spread between runs comes from: weights, order of the windows, dropout, and the rest.

From a crossed design, in which every value of ``seeds.init`` meets every value of ``seeds.order`` (and of
``seeds.dropout``): ``python -m trajlab experiment=… seeds.init=0..2 seeds.order=0..2 -m``. Legend: F factors, B draws.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FACTORS = ("init", "order", "dropout")
REST = "rest"
"""Interactions of the factors, and what no seed decides."""


def with_seed_factors(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a column for each of `FACTORS` that its runs' names tell (``seeds.init=0``)."""
    found = {name: frame["run"].str.extract(rf"(?:^|,)seeds\.{name}=(\d+)")[0] for name in FACTORS}
    told = {name: values.astype(int).to_numpy() for name, values in found.items() if values.notna().all()}
    return frame.assign(**told)


def variance_components(
    frame: pd.DataFrame,
    dv: str = "loss",
    factors: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    n_draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """A row per factor and one for the rest: source, levels, df, variance, low, high, sd, share.

    ``frame`` holds one row per run, e.g. table `intervals` at the last interval; ``factors`` are columns, by default those
    that `with_seed_factors` finds. Two factors or more, all random, completely crossed, one run per cell; the variance of
    the rest is the mean square of all interactions. ``variance`` is the difference of mean squares, 0 where that is
    negative; the interval is a generalised one (Weerahandi 1993, doi:10.1080/01621459.1993.10476355): mean squares are drawn
    anew from their χ². Raises ValueError for one factor, one level, a hole, a cell twice or a value that isn't finite.
    """
    if factors is None:
        frame = with_seed_factors(frame)
        factors = [f for f in FACTORS if f in frame and len(frame[f].unique()) > 1]
    return components_of(_cells(frame, dv, list(factors)), factors, level=level, n_draws=n_draws, seed=seed)


def components_of(
    y: NDArray[np.float64], factors: Sequence[str], *, level: float = 0.95, n_draws: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """As `variance_components`, of an array with an axis per factor."""
    squares, df = _squares(y)
    drawn_FB = squares[:, None] / np.random.default_rng(seed).chisquare(df, (n_draws, len(df))).T
    per_level = np.array([y.size / n for n in y.shape])
    mean_squares = squares / df
    variance = np.append(np.maximum(mean_squares[:-1] - mean_squares[-1], 0) / per_level, mean_squares[-1])
    pivot_FB = np.vstack([np.maximum(drawn_FB[:-1] - drawn_FB[-1], 0) / per_level[:, None], drawn_FB[-1]])
    low, high = np.quantile(pivot_FB, [(1 - level) / 2, (1 + level) / 2], axis=1)
    table = {"source": [*factors, REST], "levels": [*y.shape, y.size], "df": df, "variance": variance}
    return pd.DataFrame(
        {**table, "low": low, "high": high, "sd": np.sqrt(variance), "share": variance / variance.sum()}
    )


def _cells(frame: pd.DataFrame, dv: str, factors: list[str]) -> NDArray[np.float64]:
    """The values as an array with an axis per factor."""
    if len(factors) < 2:
        raise ValueError(
            f"{len(factors)} factors vary: components need a crossed design; train one with "
            "seeds.init=0..2 seeds.order=0..2 -m"
        )
    if (twice := frame.duplicated(factors)).any():
        raise ValueError(f"{int(twice.sum())} cells are there more than once: pass one interval, variant and split")
    values = frame.set_index(factors)[dv].astype(float)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{int((~np.isfinite(values)).sum())} values of {dv} are not finite; leave these runs' levels out"
        )
    levels = [sorted(frame[f].unique()) for f in factors]
    wanted = list(product(*levels))
    if missing := [cell for cell in wanted if cell not in set(values.index)]:
        cells = ", ".join(
            "(" + ", ".join(f"{f}={v}" for f, v in zip(factors, c, strict=True)) + ")" for c in missing[:5]
        )
        raise ValueError(f"{len(missing)} cells are missing: {cells}; finish the design")
    return values.reindex(wanted).to_numpy().reshape([len(n) for n in levels])


def _squares(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of squares and degrees of freedom of each factor, and of the rest last."""
    centred = y - y.mean()
    axes = range(y.ndim)
    means = [centred.mean(axis=tuple(a for a in axes if a != f)) for f in axes]
    effects = np.array([y.size / len(m) * np.square(m).sum() for m in means])
    df = np.array([n - 1 for n in y.shape], float)
    rest_df = y.size - 1 - df.sum()
    return np.append(effects, np.square(centred).sum() - effects.sum()), np.append(df, rest_df)
