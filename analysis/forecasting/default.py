"""The forecast to use: `forecast(curves, horizon)`, which weighs laws by what the curve so far supports.

The law that always takes part is `response` (see `response`, `gaussian`, `posterior`): its shapes are weighed by the losses seen, and what
no loss has shown yet, the gain of a fall of the rate, comes from other families (`archive`). Another law carries the forecast
with it where a backtest inside the part seen finds it five times as close. The band is calibrated on archived curves.
Shapes: R rows of a run up to its horizon, K of them seen, M ahead.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import norm

from trajlab.analysis.curve_laws import AnnealingLaw, Law, LogarithmicLaw, PowerLaw, ReciprocalLaw
from trajlab.analysis.forecasting.archive import Prior
from trajlab.analysis.forecasting.calibration import Calibration, Situation
from trajlab.analysis.forecasting.departure import Departure
from trajlab.analysis.forecasting.evidence import checked, without_spikes
from trajlab.analysis.forecasting.gaussian import LEAST_NOISE, noise_of, unit_of
from trajlab.analysis.forecasting.posterior import ENOUGH, SeenRun
from trajlab.analysis.forecasting.response import Basis

RIVALS: tuple[type[Law], ...] = (PowerLaw, ReciprocalLaw, LogarithmicLaw, AnnealingLaw)
"""Laws that may carry a forecast with `response`; those whose fit takes seconds are left out."""
BACKTEST = 0.6
"""Share of the part seen on which laws are fitted for the backtest **(ours)**."""
CLOSER, CLOSER_BLIND = 0.2, 0.05
"""A rival takes part where its backtest error is below this share of `response`'s, the second where the schedule isn't known **(ours)**.

In sight when chosen: the published runs, each family left out. With 0.5 it made final errors 3 % larger at 60 and 80 % seen. With the schedule
hidden a rival fits the past well and knows nothing of falls to come: 0.5 held 52 to 87 % of final losses, 0.05 holds 93 to 95 %."""
MOST_ROWS = 160
"""Rows that rivals are fitted to: evenly picked, so that a long curve is not slow."""
INSIDE = 0.05
"""How many spreads a band reaches at least beyond the forecast that is given."""
STEADY = 0.05
"""A rate that changes by less than this share of its peak up to the horizon is steady: laws of the step may hold **(ours)**."""


@dataclass(frozen=True)
class Tables:
    """The numbers that forecasts rest on."""

    prior: Prior
    calibration: Calibration

    @property
    def digest(self) -> str:
        """A short name for these very numbers."""
        written = self.prior.table.to_csv(index=False) + self.calibration.table.to_csv(index=False)
        return hashlib.sha256(written.encode()).hexdigest()[:16]


@cache
def shipped() -> Tables:
    """Those that come with trajlab."""
    return Tables(Prior.shipped(), Calibration.shipped())


@dataclass(frozen=True)
class Outlook:
    """The rest of one run."""

    step_M: np.ndarray
    loss_M: np.ndarray
    """Forecast of the measured loss, nats."""
    spread_M: np.ndarray
    """What errors are scaled by; the band is calibrated in units of it."""
    quantiles_4: np.ndarray
    """Calibrated quantiles of the scaled error at 5, 25, 75 and 95 %."""
    situation: Situation
    laws: pd.DataFrame
    """law, weight, backtest (nats, root mean square), refused."""
    noise: float = 0.0
    """Standard deviation of a single loss about its neighbours."""

    def band(self, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """The calibrated band of 90 or 50 %; no narrower than the noise of a single loss, and never under 0."""
        if level not in (0.9, 0.5):
            raise ValueError(f"level={level}: bands are calibrated at 0.9 and 0.5")
        low, high = self.quantiles_4[[0, 3]] if level == 0.9 else self.quantiles_4[[1, 2]]
        least = float(norm.ppf(0.5 + level / 2)) * self.noise
        low_M, high_M = np.minimum(low * self.spread_M, -least), np.maximum(high * self.spread_M, least)
        return np.maximum(self.loss_M + low_M, 0.0), self.loss_M + high_M


@dataclass(frozen=True)
class Forecasts:
    """One forecast for each curve."""

    table: pd.DataFrame
    """curve, step, forecast, low, high (90 %), low50, high50."""
    laws: pd.DataFrame
    """curve, law, weight, backtest, refused."""
    outlooks: dict[str, Outlook]


def forecast(curves: pd.DataFrame, horizon: float | None = None, tables: Tables | None = None) -> Forecasts:
    """The rest of each curve of a frame (curve, step, loss[, lr]) up to ``horizon``, by default its last row's step.

    Rows with NaN for a loss, up to the horizon, tell the schedule to come; without them or without ``lr`` the schedule
    counts as unknown. Forecasts are at these rows, or at the horizon alone. Raises ValueError for a curve with fewer than
    three losses after the warm-up, where the horizon is not ahead, and for a frame that can't be read (`evidence.checked`).

    >>> step = np.arange(100, 2001, 100)
    >>> seen = pd.DataFrame({"curve": "mine", "step": step, "loss": 2 + 10 * step**-0.4})
    >>> row = forecast(seen, horizon=4000).table.iloc[0]
    >>> bool(row["low"] < row["forecast"] < row["high"]), round(float(row["forecast"]), 1)
    (True, 2.4)
    """
    outlooks = {}
    curves = checked(curves)
    if horizon is not None and not np.isfinite(horizon):
        raise ValueError(f"horizon={horizon}: must be a step, a finite number")
    groups = curves.groupby("curve", sort=False) if "curve" in curves else [("curve", curves)]
    for name, rows in groups:
        try:
            outlooks[str(name)] = _one_curve(rows, horizon, tables)
        except ValueError as e:
            raise ValueError(f"curve {name!r}: {e}") from e
    return Forecasts(
        pd.concat([_rows(o).assign(curve=name) for name, o in outlooks.items()], ignore_index=True),
        pd.concat([o.laws.assign(curve=name) for name, o in outlooks.items()], ignore_index=True),
        outlooks,
    )


def _one_curve(rows: pd.DataFrame, horizon: float | None, tables: Tables | None) -> Outlook:
    measured = rows.dropna(subset=["loss"])
    if measured.empty:
        raise ValueError("no loss in it")
    end = float(rows["step"].max() if horizon is None else horizon)
    last = float(measured["step"].max())
    if end <= last:
        raise ValueError(f"horizon={end:g} is not ahead: the last loss is at step {last:g}")
    ahead = rows[(rows["step"] > last) & (rows["step"] <= end)]
    step_K, step_M = measured["step"].to_numpy(float), ahead["step"].to_numpy(float)
    known = "lr" in rows and len(step_M) > 0 and step_M[-1] == end
    lr = np.concatenate([measured["lr"], ahead["lr"]]).astype(float) if known else None
    if not known:
        step_M = np.array([end])
    return outlook(step_K, measured["loss"].to_numpy(float), step_M, lr, tables)


def _rows(o: Outlook) -> pd.DataFrame:
    (low_M, high_M), (low50_M, high50_M) = o.band(), o.band(0.5)
    parts = {"curve": "", "step": o.step_M, "forecast": o.loss_M, "low": low_M, "high": high_M}
    return pd.DataFrame({**parts, "low50": low50_M, "high50": high50_M})


def outlook(
    step_K: np.ndarray,
    loss_K: np.ndarray,
    step_M: np.ndarray,
    lr_R: np.ndarray | None = None,
    tables: Tables | None = None,
    *,
    rivals: bool = True,
) -> Outlook:
    """The default forecast of one run at ``step_M``, the last of which is the horizon, from the losses at ``step_K``.

    ``lr_R`` covers the rows seen and those ahead; None (or a rate that is not finite) is an unknown schedule.
    """
    tables = tables or shipped()
    step_R, seen = np.concatenate([step_K, step_M]).astype(float), len(step_K)
    if lr_R is not None and not (np.isfinite(lr_R).all() and (np.asarray(lr_R) >= 0).all() and np.max(lr_R) > 0):
        lr_R = None
    basis = Basis.of(step_R, lr_R, seen)
    loss_K = cleaned(np.asarray(loss_K, float))
    ahead = np.arange(seen, len(step_R))
    law = SeenRun.of(basis, loss_K, seen, ahead).forecast(tables.prior)
    mean_M, spread_M = law.mean_M, law.spread_M
    where = situation(step_R, lr_R, seen, basis.first)
    laws = [{"law": "response", "weight": 1.0, "backtest": np.nan, "refused": ""}]
    if rivals:
        test = _backtest(step_R, loss_K, lr_R, basis, tables)
        reach, _ = tables.calibration.reach(where)
        mean_M, spread_M = test.left.followed(mean_M, spread_M, step_M - step_K[-1], reach)
        mean_M, spread_M, laws = _with_rivals(step_R, loss_K, lr_R, basis.first, test, mean_M, spread_M)
    shift = tables.calibration.shift(where) * float(laws[0]["weight"])  # type: ignore[arg-type]
    quantiles_4 = tables.calibration.quantiles(where) - shift
    quantiles_4 = np.array([*np.minimum(quantiles_4[:2], -INSIDE), *np.maximum(quantiles_4[2:], INSIDE)])
    return Outlook(
        step_R[ahead], mean_M + shift * spread_M, spread_M, quantiles_4, where, pd.DataFrame(laws), law.noise
    )


def cleaned(loss_K: np.ndarray) -> np.ndarray:
    """Without losses that aren't finite and without spikes."""
    losses = loss_K[np.isfinite(loss_K)]
    return without_spikes(loss_K, noise_of(losses), unit_of(losses)) if len(losses) else loss_K


def situation(step_R: np.ndarray, lr_R: np.ndarray | None, seen: int, first: int) -> Situation:
    """How much has been seen, and whether a fall of the rate lies ahead."""
    share = float(step_R[seen - 1] / step_R[-1])
    if lr_R is None:
        return Situation(share, False, False)
    now, end, peak = lr_R[first:seen].min() if seen > first else lr_R[seen - 1], lr_R[-1], lr_R.max()
    return Situation(share, True, bool(now > 0.95 * peak and now - end > peak / 3))


KEEPS = Departure()
"""Of a run that keeps to the law."""


@dataclass(frozen=True)
class _Backtest:
    """`response`, fitted on the first part of the rows that count, against the others of the part seen."""

    rows: np.ndarray
    early: np.ndarray
    late: np.ndarray
    error: float = 0.0
    """Root mean square, nats; 0 where the early part alone is too thin: then no rival is compared with it."""
    left: Departure = KEEPS


def _backtest(
    step_R: np.ndarray, loss_K: np.ndarray, lr_R: np.ndarray | None, basis: Basis, tables: Tables
) -> _Backtest:
    seen = len(loss_K)
    rows = np.flatnonzero((np.arange(seen) >= basis.first) & (step_R[:seen] > 0) & np.isfinite(loss_K))
    early, late = np.split(rows, [int(BACKTEST * len(rows))])
    if len(rows) < ENOUGH:
        return _Backtest(rows, early, late)
    known = int(early[-1]) + 1
    try:
        tested = SeenRun.of(basis, loss_K, known, late).forecast(tables.prior)
    except ValueError:
        return _Backtest(rows, early, late)
    error_L = loss_K[late] - tested.mean_M
    bound = tables.calibration.reach(situation(step_R, lr_R, known, basis.first))[1] * float(tested.spread_M[-1])
    return _Backtest(
        rows, early, late, _rms(error_L), Departure.of(step_R[late], error_L, bound, float(step_R[early[-1]]))
    )


def _with_rivals(
    step_R: np.ndarray,
    loss_K: np.ndarray,
    lr_R: np.ndarray | None,
    first: int,
    test: _Backtest,
    mean_M: np.ndarray,
    spread_M: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, list[dict[str, object]]]:
    """The forecast weighed with the rivals that are far closer in the backtest, and the table of laws."""
    seen, rows, early, late, own = len(loss_K), test.rows, test.early, test.late, test.error
    if len(rows) < ENOUGH:
        why = f"{len(rows)} losses after the warm-up; a backtest needs {ENOUGH}"
        refused = [{"law": r.name, "weight": 0.0, "backtest": np.nan, "refused": why} for r in RIVALS]
        return mean_M, spread_M, [{"law": "response", "weight": 1.0, "backtest": np.nan, "refused": ""}, *refused]
    closer = CLOSER_BLIND if lr_R is None else CLOSER
    carried = [(mean_M, spread_M, 1 / (own**2 + LEAST_NOISE**2))]
    laws: list[dict[str, object]] = [{"law": "response", "weight": 1.0, "backtest": own, "refused": ""}]
    for rival in RIVALS:
        entry: dict[str, object] = {"law": rival.name, "weight": 0.0, "backtest": np.nan, "refused": ""}
        laws.append(entry)
        if why := _inadmissible(rival, lr_R, seen, first):
            entry["refused"] = why
            continue
        try:
            error = _rms(_fitted(rival, step_R, loss_K, lr_R, early)[late] - loss_K[late])
            entry["backtest"] = error
            if not error + LEAST_NOISE < closer * (own + LEAST_NOISE):
                entry["refused"] = f"its backtest was off by {error:.2g} nats, that of response by {own:.2g}"
                continue
            own_M = _fitted(rival, step_R, loss_K, lr_R, rows)[seen:]
        except (ValueError, ArithmeticError, RuntimeError) as problem:
            entry["refused"] = str(problem)
            continue
        # a fall of a rate that nobody tells is in no backtest, so there the spread stays
        scale = 1.0 if lr_R is None else (error + LEAST_NOISE) / (own + LEAST_NOISE)
        carried.append((own_M, spread_M * scale, 1 / (error**2 + LEAST_NOISE**2)))
        entry["weight"] = carried[-1][2]
    total = sum(w for *_, w in carried)
    laws[0]["weight"] = carried[0][2]
    laws = [{**entry, "weight": float(entry["weight"]) / total} for entry in laws]  # type: ignore[arg-type]
    mixed_M = sum((w / total * m for m, _, w in carried), np.zeros_like(mean_M))
    variance_M = sum((w / total * (s**2 + (m - mixed_M) ** 2) for m, s, w in carried), np.zeros_like(mean_M))
    return mixed_M, np.sqrt(variance_M), laws


def _inadmissible(rival: type[Law], lr_R: np.ndarray | None, seen: int, first: int) -> str:
    """Why a law can't speak of what lies ahead, however well it does in a backtest; empty where it can."""
    if lr_R is None:
        return "the learning rate is not known" if rival.needs_lr else ""
    after = lr_R[first:] / lr_R.max()
    if not rival.needs_lr:
        return "" if np.ptp(after) < STEADY else "the learning rate changes, of which the law knows nothing"
    shown, coming = 1 - lr_R[first:seen].min() / lr_R.max() if seen > first else 0.0, 1 - after.min()
    return "" if coming > 0 and shown > coming / 2 else "less than half of the fall of the learning rate has been seen"


def _fitted(
    kind: type[Law], step_R: np.ndarray, loss_K: np.ndarray, lr_R: np.ndarray | None, rows: np.ndarray
) -> np.ndarray:
    """A law fitted to some rows, over the whole run. ValueError where it has no finite value."""
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_ROWS).astype(int))]
    frame = pd.DataFrame({"step": step_R[chosen], "loss": loss_K[chosen]})
    if kind.needs_lr and lr_R is not None:
        frame["lr"] = lr_R[chosen]
    value_R = kind.fit(frame, starts=3).predict(step_R, lr_R if kind.needs_lr else None)
    if not np.isfinite(value_R[rows[0] :]).all():
        raise ValueError("the fitted law has no finite value there")
    return value_R


def _rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))
