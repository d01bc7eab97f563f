"""From where to where do two conditions differ? One decision for the whole curve (docs/statistics.md).

`compare` holds condition B against A: simultaneous band of the difference, the stretches in which they differ, one p.
`mean_band` draws a simultaneous band of one condition's mean. Both hold seeds, not text; `compare_on_other_text` holds both. Legend: S runs, K intervals.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from trajlab.analysis.conditions import refuse_other_tokens, refuse_several, with_condition
from trajlab.analysis.load import Runs
from trajlab.analysis.stability import window_means
from trajlab.analysis.statistics.grids import complete_grid
from trajlab.analysis.statistics.max_t import MaxT, paired_max_t, unpaired_max_t
from trajlab.analysis.statistics.text_errors import crossed_interval, overlap_of


@dataclass(frozen=True)
class Comparison:
    """B − A along training; positive where B's value is higher."""

    a: str
    b: str
    p: float
    """That the curves differ anywhere; controlled over all intervals."""
    paired: bool
    runs: tuple[int, int]
    method: str
    holds: str
    """Which uncertainty the band holds."""
    band: pd.DataFrame = field(repr=False)
    """A row per interval: interval, tokens, difference, se, t, low, high, differs."""

    def table(self) -> pd.DataFrame:
        """A row per stretch of neighbouring intervals in which B differs from A: from, to, tokens, direction, largest."""
        rows = []
        sign = np.sign(self.band["difference"]).where(self.band["differs"], 0)
        for _, part in self.band.assign(sign=sign).groupby((sign != sign.shift()).cumsum()):
            if part["sign"].iloc[0]:
                ends = {
                    f"{end}_{c}": part[c].iloc[i]
                    for c in ("interval", "tokens")
                    for end, i in (("from", 0), ("to", -1))
                }
                largest = part["difference"].loc[part["difference"].abs().idxmax()]
                direction = "higher" if part["sign"].iloc[0] > 0 else "lower"
                rows.append({"a": self.a, "b": self.b, **ends, "b_is": direction, "largest": largest, "p": self.p})
        names = ["a", "b", "from_interval", "to_interval", "from_tokens", "to_tokens", "b_is", "largest", "p"]
        return pd.DataFrame(rows, columns=names)


def compare(
    runs: Runs | pd.DataFrame,
    a: Hashable,
    b: Hashable,
    by: str = "seed",
    *,
    column: str = "condition",
    dv: str = "loss",
    level: float = 0.95,
    n_resamples: int = 1999,
    seed: int = 0,
) -> Comparison:
    """Condition ``b`` against ``a`` of table `intervals`: values of ``column``, a run's name without its seed by default.

    Paired where both have the same values of ``by``, unpaired where they share none. Decided by the largest |t| along the
    curve over sign flips (paired) or relabelled runs; with too few runs for a p of 1 − ``level`` (five pairs, three against
    three) by Bonferroni's t, and ``method`` says so. Rows at 0 tokens stay, and count only if runs differ there.

    Raises KeyError for an unknown condition; ValueError where several variants or splits are mixed, runs were evaluated at
    other tokens, only some values of ``by`` are shared, or a grid has a hole.
    """
    frame = with_condition(runs.intervals if isinstance(runs, Runs) else runs)
    parts = [_rows(frame, column, value) for value in (a, b)]
    both = pd.concat(parts)
    refuse_several(both, [c for c in ("variant", "split") if c != column])
    refuse_other_tokens(both.assign(condition="") if column != "variant" else both)
    grids = [complete_grid(part, dv, "interval", by) for part in parts]
    if list(grids[0].columns) != list(grids[1].columns):
        raise ValueError(
            f"{a} and {b} have different intervals; put them on common tokens with trajlab.analysis.align first"
        )
    shared = set(grids[0].index) & set(grids[1].index)
    paired = len(shared) == len(grids[0]) == len(grids[1])
    if shared and not paired:
        raise ValueError(
            f"{a} and {b} share {len(shared)} values of {by} and differ in others: leave out what only one has, or pass by= a "
            "column that names each run"
        )
    y_SK, y_RK = (g.to_numpy() for g in grids)
    options = {"level": level, "n_resamples": n_resamples, "seed": seed}
    found = paired_max_t(y_RK - y_SK, **options) if paired else unpaired_max_t(y_SK, y_RK, **options)  # type: ignore[arg-type]
    band = _band(found, grids[0].columns, both)
    return Comparison(str(a), str(b), found.p, paired, (len(y_SK), len(y_RK)), found.method, "seeds", band)


def compare_on_other_text(
    runs: Runs | pd.DataFrame,
    a: Hashable,
    b: Hashable,
    by: str = "seed",
    *,
    column: str = "condition",
    level: float = 0.95,
) -> pd.DataFrame:
    """B − A with its uncertainty over other seeds *and* other text: both have the same seeds and validation windows.

    A row per interval: interval, tokens, difference, se_seeds, se_text, se, df, low, high, differs, holds. Intervals are those of
    `crossed_interval`, at a level that all of them hold at once (Bonferroni). Raises KeyError as `compare` does and without
    ``window_nll`` and ``token_count``; ValueError where seeds or windows of the two differ, and for fewer than two seeds.
    """
    frame = with_condition(runs.intervals if isinstance(runs, Runs) else runs)
    if missing := {"window_nll", "token_count"} - set(frame.columns):
        raise KeyError(f"no column {', '.join(sorted(missing))}: the text's part needs the windows' losses")
    parts = [_rows(frame, column, value).sort_values(["interval", by]) for value in (a, b)]
    refuse_several(pd.concat(parts), [c for c in ("variant", "split") if c != column])
    cells = [list(zip(part["interval"], part[by], strict=True)) for part in parts]
    if cells[0] != cells[1]:
        raise ValueError(f"{a} and {b} have other intervals or other values of {by}: text is paired seed by seed")
    intervals = parts[0]["interval"].unique()
    rows = []
    for interval in intervals:
        first, second = (part[part["interval"] == interval] for part in parts)
        y_SW, z_SW = window_means(first), window_means(second)
        if y_SW.shape != z_SW.shape:
            raise ValueError(f"interval {interval}: {a} and {b} were evaluated on different windows")
        found = crossed_interval(z_SW - y_SW, overlap=overlap_of(first), level=1 - (1 - level) / len(intervals))
        tokens = first["tokens"].iloc[0] if "tokens" in first else np.nan
        rows.append({"interval": interval, "tokens": tokens, "difference": found.mean, **vars(found)})
    table = pd.DataFrame(rows)
    differs = (table["low"] > 0) | (table["high"] < 0)
    columns = ["interval", "tokens", "difference", "se_seeds", "se_text", "se", "df", "low", "high"]
    return table[columns].assign(differs=differs, holds="seeds and text")


def mean_band(frame: pd.DataFrame, by: str = "seed", *, dv: str = "loss", level: float = 0.95) -> pd.DataFrame:
    """Simultaneous band of one condition's mean curve: interval, tokens, mean, se, low, high.

    The whole curve of means lies inside in ``level`` of cases; the pointwise intervals of `between_seeds` are narrower.
    Raises ValueError as `compare` does.
    """
    refuse_several(frame)
    refuse_other_tokens(frame)
    grid = complete_grid(frame, dv, "interval", by)
    found = paired_max_t(grid.to_numpy() - grid.to_numpy().mean(0), level=level)  # centred: the null of the band
    band = _band(found, grid.columns, frame)
    half = found.critical * found.error_K
    mean = grid.mean().to_numpy()
    return band[["interval", "tokens", "se"]].assign(mean=mean, low=mean - half, high=mean + half, holds="seeds")


def _rows(frame: pd.DataFrame, column: str, value: Hashable) -> pd.DataFrame:
    if column not in frame:
        raise KeyError(f"no column {column} in the frame; it has {', '.join(map(str, frame.columns))}")
    rows = frame[frame[column] == value]
    if rows.empty:
        there = ", ".join(repr(v) for v in frame[column].unique())
        raise KeyError(f"no row has {column}={value!r}; there are {there}")
    return rows


def _band(found: MaxT, intervals: pd.Index, frame: pd.DataFrame) -> pd.DataFrame:
    tokens = frame.groupby("interval")["tokens"].first() if "tokens" in frame else pd.Series(np.nan, intervals)
    half_K = found.critical * found.error_K
    return pd.DataFrame(
        {
            "interval": intervals,
            "tokens": tokens.reindex(intervals).to_numpy(),
            "difference": found.difference_K,
            "se": found.error_K,
            "t": found.t_K,
            "low": found.difference_K - half_K,
            "high": found.difference_K + half_K,
            "differs": np.abs(found.t_K) > found.critical,
        }
    )
