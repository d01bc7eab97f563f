"""How steady a training trajectory is (docs/methods.md §1): volatility, backslides, drawdown, spikes, stable phase, seeds.

`stability` and `between_seeds` read table `intervals`. One row in, one row out: nothing is averaged before it is measured.
Spikes of single steps are in `trajlab.analysis.step_spikes`. Legend: K intervals, W validation windows.
"""

from collections.abc import Sequence
from statistics import median

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.conditions import SETTING, refuse_other_tokens, refuse_several, with_condition
from trajlab.analysis.statistics.eta_squared import eta_squared_interval
from trajlab.analysis.statistics.grids import complete_grid, refuse_constant
from trajlab.analysis.statistics.intervals import t_interval
from trajlab.analysis.statistics.sums_of_squares import decompose
from trajlab.analysis.statistics.text_errors import crossed_interval, overlap_of, window_errors

CURVE = ("experiment", "run", "seed", "variant", "split")
"""The columns that tell one curve from another; those that a frame has count."""

MAD_TO_SD = 1.4826
"""Median absolute deviation of normal data × this = standard deviation."""


def stability(
    intervals: pd.DataFrame,
    window: int = 5,
    *,
    backslide_errors: float = 2.0,
    spike_deviations: float = 3.0,
    spike_history: int = 5,
    stable_length: int = 3,
    stable_change: float = 0.01,
) -> pd.DataFrame:
    """Table `intervals`, sorted, with the telemetry of each curve added.

    - ``delta`` loss minus the loss an interval earlier, nats
    - ``volatility`` sample sd of the last ``window`` losses, at least 2; nan at the first interval
    - ``backslide`` delta > 0
    - ``delta_se`` standard error of delta for other text from this seed, paired over validation windows, which may share
      text (needs ``window_nll``, ``token_count``; ``window_overlap``, where it is there, says how many windows share it)
    - ``backslide_2se`` delta > ``backslide_errors`` · delta_se; <NA> without windows
    - ``drawdown`` loss minus the lowest so far
    - ``spike`` delta > median + ``spike_deviations`` · 1.4826 · MAD of the earlier deltas, of which at least
      ``spike_history``
    - ``stable`` in the first run of at least ``stable_length`` intervals in which |delta| and volatility stay under
      ``stable_change`` of the loss, without spike and without backslide beyond its error (any backslide, without windows)

    Raises KeyError without ``interval`` and ``loss``; ValueError where a curve has an interval twice, a gap, or a loss that
    is not finite, naming the curve and the interval.
    """
    missing = {"interval", "loss"} - set(intervals.columns)
    if missing:
        raise KeyError(f"no column {', '.join(sorted(missing))}: stability reads table intervals")
    keys = [c for c in CURVE if c in intervals]
    frame = intervals.sort_values([*keys, "interval"], kind="stable", ignore_index=True)
    parts = []
    for label, curve in curves(frame, keys):
        _check_curve(curve, label)
        loss_K = curve["loss"].to_numpy(float)
        added = _telemetry(loss_K, window, spike_deviations, spike_history)
        added["delta_se"] = _delta_errors(curve)
        beyond = added["delta"] > backslide_errors * added["delta_se"]
        added["backslide_2se"] = beyond.astype("boolean").mask(added["delta_se"].isna() & added["delta"].notna())
        slid_K = added["backslide_2se"].fillna(added["backslide"]).to_numpy(bool)
        delta_K, volatility_K, spike_K = (added[c].to_numpy() for c in ("delta", "volatility", "spike"))
        calm = (delta_K, volatility_K, spike_K, slid_K)
        added["stable"] = _stable(loss_K, *calm, length=stable_length, limit=stable_change)
        parts.append(pd.concat([curve.reset_index(drop=True), added], axis=1))
    return pd.concat(parts, ignore_index=True) if parts else frame


def curves(frame: pd.DataFrame, keys: list[str]) -> Sequence[tuple[str, pd.DataFrame]]:
    """Each curve with its name in words, in the order of the rows."""
    if not keys:
        return [("the curve", frame)]
    groups = frame.groupby(keys, sort=False, dropna=False)
    return [(", ".join(f"{k}={v}" for k, v in zip(keys, label, strict=True)), group) for label, group in groups]


def _check_curve(curve: pd.DataFrame, label: str) -> None:
    interval, loss = curve["interval"].to_numpy(), curve["loss"].to_numpy(float)
    steps = np.diff(interval)
    if (steps == 0).any():
        raise ValueError(f"{label}: interval {interval[:-1][steps == 0][0]} is there twice; keep one")
    if (steps != 1).any():
        raise ValueError(f"{label}: no interval {interval[:-1][steps != 1][0] + 1}; finish the run")
    if not np.isfinite(loss).all():
        first = interval[~np.isfinite(loss)][0]
        raise ValueError(f"{label}: the loss at interval {first} is not finite; leave the run out from there on")


def _telemetry(loss_K: NDArray[np.float64], window: int, spike_deviations: float, spike_history: int) -> pd.DataFrame:
    loss = pd.Series(loss_K)
    delta_K = np.diff(loss_K, prepend=np.nan)
    return pd.DataFrame(
        {
            "delta": delta_K,
            "volatility": _rolling_sd(loss_K, window),
            "backslide": delta_K > 0,
            "drawdown": loss_K - loss.cummin().to_numpy(),
            "spike": _spikes(delta_K, spike_deviations, spike_history),
        }
    )


def _rolling_sd(loss_K: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Two-pass in each window: pandas' running sums leave noise where a curve is flat."""
    padded_K = np.concatenate([np.full(window - 1, np.nan), loss_K])
    windows_KW = np.lib.stride_tricks.sliding_window_view(padded_K, window)
    sd_K = np.full(len(loss_K), np.nan)
    if len(loss_K) > 1:
        sd_K[1:] = np.nanstd(windows_KW[1:], axis=1, ddof=1)
    return sd_K


def _spikes(delta_K: NDArray[np.float64], deviations: float, history: int) -> NDArray[np.bool_]:
    """delta_K[0] is nan: the earlier deltas of interval t are 1…t−1."""
    spike_K = np.zeros(len(delta_K), bool)
    changes = delta_K.tolist()
    for t in range(history + 1, len(changes)):
        middle = median(changes[1:t])
        spread = median([abs(change - middle) for change in changes[1:t]])
        spike_K[t] = changes[t] > middle + deviations * MAD_TO_SD * spread
    return spike_K


def _delta_errors(curve: pd.DataFrame) -> NDArray[np.float64]:
    """Standard error of each change over the validation windows; nan where an interval has no windows, or others."""
    error_K = np.full(len(curve), np.nan)
    if "window_nll" not in curve or "token_count" not in curve:
        return error_K
    windows, tokens_K = curve["window_nll"].tolist(), curve["token_count"].to_numpy(float)
    pairs = [t for t in range(1, len(curve)) if _paired(windows[t], windows[t - 1])]
    for width in {np.size(windows[t]) for t in pairs}:
        own = [t for t in pairs if np.size(windows[t]) == width]
        change_DW = np.stack([np.subtract(windows[t], windows[t - 1], dtype=float) for t in own])
        error_K[own] = window_errors(change_DW, overlap_of(curve)) * width / tokens_K[own]
    return error_K


def _paired(now: Sequence[float] | None, before: Sequence[float] | None) -> bool:
    return now is not None and before is not None and len(now) == len(before) >= 2


def stable_phase(loss_K: NDArray[np.float64], error_K: NDArray[np.float64]) -> NDArray[np.bool_]:
    """`stability`'s ``stable`` of one curve whose changes have known standard errors, with its default limits.

    ``error_K`` belongs to the change that ends at each interval; the first counts for nothing.
    """
    delta_K = np.diff(loss_K, prepend=np.nan)
    parts = (delta_K, _rolling_sd(loss_K, 5), _spikes(delta_K, 3.0, 5), delta_K > 2 * error_K)
    return _stable(loss_K, *parts, length=3, limit=0.01)


def _stable(
    loss_K: NDArray[np.float64],
    delta_K: NDArray[np.float64],
    volatility_K: NDArray[np.float64],
    spike_K: NDArray[np.bool_],
    slid_K: NDArray[np.bool_],
    *,
    length: int,
    limit: float,
) -> NDArray[np.bool_]:
    calm_K = ~(slid_K | spike_K)
    calm_K &= np.abs(delta_K) < limit * np.abs(np.r_[np.nan, loss_K[:-1]])
    calm_K &= volatility_K < limit * np.abs(loss_K)
    return _first_run(calm_K, length)


def _first_run(calm_K: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """The first maximal run of True that is at least ``length`` long."""
    edges = np.flatnonzero(np.diff(np.r_[0, calm_K.astype(int), 0]))
    chosen_K = np.zeros(len(calm_K), bool)
    for start, stop in edges.reshape(-1, 2):
        if stop - start >= length:
            chosen_K[start:stop] = True
            break
    return chosen_K


def stability_summary(telemetry: pd.DataFrame) -> pd.DataFrame:
    """A row per curve of `stability`'s frame: how often, how far, and when stable.

    Counts are intervals; ``peak_volatility``, ``max_drawdown``, ``final_drawdown`` nats; ``stable_from`` the first interval
    of the stable phase, nan where there is none.
    """
    keys = [c for c in CURVE if c in telemetry]
    rows = []
    for label, curve in telemetry.groupby(keys, sort=False, dropna=False):
        stable = curve.loc[curve["stable"], "interval"]
        row = dict(zip(keys, label if isinstance(label, tuple) else (label,), strict=True))
        row |= {
            "lowest_loss": curve["loss"].min(),
            "lowest_interval": curve.loc[curve["loss"].idxmin(), "interval"],
            "final_loss": curve["loss"].iloc[-1],
            "backslides": int(curve["backslide"].sum()),
            "backslides_2se": curve["backslide_2se"].sum() if curve["backslide_2se"].notna().sum() > 1 else np.nan,
            "spikes": int(curve["spike"].sum()),
            "peak_volatility": curve["volatility"].max(),
            "max_drawdown": curve["drawdown"].max(),
            "final_drawdown": curve["drawdown"].iloc[-1],
            "stable_intervals": len(stable),
            "stable_from": stable.iloc[0] if len(stable) else np.nan,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def between_seeds(intervals: pd.DataFrame, dv: str = "loss", *, level: float = 0.95) -> pd.DataFrame:
    """Spread of ``dv`` over seeds at each interval: n, mean, sd, cv, min, max, range, ci_low, ci_high (t-based).

    A row per experiment × condition (whatever was swept, where it was) × variant × split × interval, of those columns that
    the frame has, with ``tokens``. The interval ``holds`` seeds, not text: all seeds share one validation text
    (`seeds_and_text`). One seed has a mean and no spread (nan). Raises ValueError where a seed has an interval twice, a value
    that isn't finite, or runs of one condition were evaluated at other tokens.

    >>> from trajlab.analysis import load_runs
    >>> spread = between_seeds(load_runs("runs/demo").intervals)
    >>> spread[["interval", "n", "mean", "sd", "ci_low", "ci_high"]].round(2).tail(1)
        interval  n  mean    sd  ci_low  ci_high
    10        10  3  3.89  0.04    3.79      3.99
    """
    if dv not in intervals:
        raise KeyError(f"no column {dv} in the frame; it has {', '.join(map(str, intervals.columns))}")
    curve = [c for c in CURVE if c in intervals]
    twice = intervals[intervals.duplicated([*curve, "interval"])]
    bad = intervals[~np.isfinite(intervals[dv].to_numpy(float))]
    for rows, what in ((twice, "is there twice"), (bad, f"has a {dv} that is not finite")):
        if len(rows):
            first = ", ".join(f"{c}={rows[c].iloc[0]}" for c in [*curve, "interval"])
            raise ValueError(f"{first} {what}; leave the row out ({len(rows)} such rows)")
    refuse_other_tokens(intervals)
    frame = with_condition(intervals)
    if "condition" in frame and len(frame["condition"].unique()) == 1:
        frame = frame.drop(columns="condition")
    keys = [c for c in (*SETTING, "interval") if c in frame]
    groups = frame.groupby(keys, sort=True)
    table = groups[dv].agg(n="count", mean="mean", sd="std", min="min", max="max").reset_index()
    if "tokens" in frame:
        table.insert(len(keys), "tokens", groups["tokens"].first().to_numpy())
    low, high = t_interval(table["mean"], table["sd"] / np.sqrt(table["n"]), table["n"], level)
    return table.assign(
        cv=table["sd"] / table["mean"].abs(), range=table["max"] - table["min"], ci_low=low, ci_high=high, holds="seeds"
    )


def seeds_and_text(intervals: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Mean loss at each interval of one condition with an interval over seeds *and* text (`crossed_interval`).

    All seeds are evaluated on one validation text, so the interval of `between_seeds` says nothing of other text. Columns:
    interval, mean, se_seeds, se_text, se, df, low, high, seeds, windows, holds. Raises KeyError without ``window_nll`` and
    ``token_count``; ValueError for several conditions, fewer than two seeds, or windows that differ between seeds.
    """
    if missing := {"window_nll", "token_count"} - set(intervals.columns):
        raise KeyError(f"no column {', '.join(sorted(missing))}: the text's part needs the windows' losses")
    refuse_several(intervals)
    refuse_other_tokens(intervals)
    rows = []
    for interval, here in intervals.groupby("interval"):
        y_SW = window_means(here)
        found = crossed_interval(y_SW, overlap=overlap_of(here), level=level).table()
        rows.append(found.assign(interval=interval))
    table = pd.concat(rows, ignore_index=True)
    return table[["interval", *table.columns.drop("interval")]]


def window_means(here: pd.DataFrame) -> NDArray[np.float64]:
    """The losses of one interval's seeds (rows) on each validation window, whose mean over windows is a seed's loss.

    Raises ValueError where seeds were evaluated on different windows.
    """
    windows = here["window_nll"].tolist()
    if len({np.size(w) for w in windows}) > 1 or any(w is None for w in windows):
        raise ValueError(f"interval {here['interval'].iloc[0]}: seeds were evaluated on different windows")
    y_SW = np.stack([np.asarray(w, float) for w in windows]) * len(windows[0])
    return np.asarray(y_SW / here["token_count"].to_numpy(float)[:, None])


def seed_agreement(
    frame: pd.DataFrame,
    dv: str = "loss",
    within: str = "interval",
    subject: str = "seed",
    *,
    initial: bool = False,
    level: float = 0.95,
    n_resamples: int = 5000,
) -> pd.Series:
    """ICC(A,1) over the grid with its confidence interval: icc, ci_low, ci_high, n, k.

    Two-way, absolute agreement, single measurement (McGraw & Wong 1996, case 2): 1 means that seeds trace the same curve, in
    level and in shape. The first row, where ``tokens`` or the interval is 0, is left out unless ``initial``: all seeds are
    equally bad there, and curves that have nothing in common afterwards would still agree. The interval resamples seeds
    (`eta_squared_interval`: the share of the variance that is the intervals' is the same quantity), since McGraw and Wong's
    takes neighbouring intervals as independent; nan with fewer than four seeds.
    Raises ValueError as `complete_grid` does, for several conditions, and without error variance.
    """
    refuse_several(frame)
    start = frame["tokens"] if "tokens" in frame else frame[within]
    grid = complete_grid(frame if initial else frame[start != 0], dv, within, subject)
    refuse_constant(grid)
    n, k = grid.shape  # n seeds are the raters, k intervals the rated
    parts = decompose(grid.to_numpy()[None])
    rows, columns = _mean_square(parts.effect_B, k - 1), _mean_square(parts.subject_B, n - 1)
    error = _mean_square(parts.error_B, (n - 1) * (k - 1))
    icc = (rows - error) / (rows + (n - 1) * error + n * (columns - error) / k)
    low, high = eta_squared_interval(grid.to_numpy(), generalized=True, level=level, n_resamples=n_resamples)
    return pd.Series({"icc": icc, "ci_low": low, "ci_high": high, "n": n, "k": k})


def _mean_square(squares_B: NDArray[np.float64], df: int) -> float:
    """Mean square of a single grid."""
    return float(squares_B[0]) / df
