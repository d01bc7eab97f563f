"""The archive's numbers out of curves: `Archive`, which can leave a family out.

    archive = Archive.of(curves)          # every curve fitted once
    archive.tables()                      # the prior and the calibration that trajlab ships
    archive.tables(without="gpt-s")       # for a forecast of that family

Each archived forecast behind the calibration is made with a prior that knows neither its own family nor the one left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from trajlab.analysis.forecasting.archive import ArchivedFit, Prior, build_prior, fit_archived
from trajlab.analysis.forecasting.calibration import Situation, calibrate
from trajlab.analysis.forecasting.default import Tables, cleaned, situation
from trajlab.analysis.forecasting.posterior import SeenRun
from trajlab.analysis.forecasting.response import Basis
from trajlab.analysis.forecasting.schedule import warmed_up

FRACTIONS = (0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of a run's steps at which forecasts are made."""
LATE = (0.84, 0.88, 0.92, 0.96)
"""Further shares at which the archive makes forecasts, for bands alone.

Most cooldowns fill the last fifth, so at `FRACTIONS` they lie ahead or are over. Amid them the law expects a quarter to a half more of
the rest of the gain than comes, in every archived family; bands that never met that held half of the runs of a family left out."""
FEWEST_SEEN = 8
"""Losses seen below which no forecast is calibrated or scored."""


@dataclass(frozen=True)
class Archive:
    """Complete curves: their fits, and what their first parts say at each fraction, ready for any prior."""

    fits: tuple[ArchivedFit, ...]
    made: tuple["ArchivedForecast", ...]

    @classmethod
    def of(cls, curves: pd.DataFrame) -> "Archive":
        """From a frame of `read_curves`. Curves without a rate calibrate only the forecasts of unknown schedules."""
        fits, made = [], []
        for name, rows in curves.groupby("curve", sort=True):
            rows = rows.dropna(subset=["loss"])
            if len(rows) < 2 * FEWEST_SEEN:
                continue
            run = Run.of(str(name), rows)
            made += list(_forecasts(run))
            if run.lr_R is not None:
                fits.append(fit_archived(run.family, run.step_R, run.loss_R, run.lr_R))
        return cls(tuple(fits), tuple(made))

    def tables(self, without: str | None = None) -> Tables:
        """The numbers of all families but one, of whose losses nothing is in them."""
        return Tables(build_prior(self.fits, without), calibrate(self.scaled_without(without)))

    @cached_property
    def scaled(self) -> pd.DataFrame:
        """curve, family, fraction (also `LATE`), known, ahead, bucket, error (forecast − loss at the end, nats), z.

        A row per archived forecast, whose prior does not know its family. Where no other family is left that a prior could be
        of, there is no row.
        """
        return self.scaled_without(None)

    def scaled_without(self, family: str | None) -> pd.DataFrame:
        """The same for the other families alone, whose priors don't know this one either."""
        kept = [fit for fit in self.fits if fit.family != family]
        rows = []
        for own in sorted({m.run.family for m in self.made} - {family}):
            try:
                prior = build_prior(kept, own)
            except ValueError:
                continue
            rows += [m.row(prior) for m in self.made if m.run.family == own]
        columns = ["curve", "family", "fraction", "known", "ahead", "bucket", "error", "z"]
        return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class Run:
    """A complete curve with its family."""

    name: str
    family: str
    step_R: np.ndarray
    loss_R: np.ndarray
    lr_R: np.ndarray | None

    @classmethod
    def of(cls, name: str, rows: pd.DataFrame) -> "Run":
        """From the rows of one curve, those with a loss."""
        lr_R = rows["lr"].to_numpy(float)
        usable = np.isfinite(lr_R).all() and (lr_R >= 0).all() and lr_R.max() > 0
        steps, losses = rows["step"].to_numpy(float), rows["loss"].to_numpy(float)
        return cls(name, str(rows["family"].iloc[0]), steps, losses, lr_R if usable else None)

    def seen(self, fraction: float) -> int:
        """Rows up to a share of the last step."""
        return int((self.step_R <= fraction * self.step_R[-1]).sum())

    def situation(self, seen: int) -> str:
        """What lies ahead after so many rows: ``decay`` (none of it seen), ``decaying``, ``steady`` or ``unknown``."""
        if self.lr_R is None:
            return "unknown"
        first = warmed_up(self.lr_R)
        if situation(self.step_R, self.lr_R, seen, first).ahead:
            return "decay"
        return "decaying" if np.ptp(self.lr_R[min(first, len(self.lr_R) - 1) :]) > 0.05 * self.lr_R.max() else "steady"


@dataclass(frozen=True)
class ArchivedForecast:
    """One forecast of a complete curve's last loss, made as if only its first part were there."""

    run: Run
    fraction: float
    where: Situation
    seen: SeenRun

    def row(self, prior: Prior) -> dict[str, object]:
        """Its error under a prior (`Archive.scaled`)."""
        found = self.seen.forecast(prior)
        error = float(found.mean_M[-1] - self.run.loss_R[-1])
        cell = {"known": self.where.known, "ahead": self.where.ahead, "bucket": self.where.bucket}
        about = {"curve": self.run.name, "family": self.run.family, "fraction": self.fraction}
        return {**about, **cell, "error": error, "z": -error / float(found.spread_M[-1])}


def _forecasts(run: Run) -> Iterator[ArchivedForecast]:
    """One per fraction, with the schedule known (where it is) and hidden."""
    last = np.array([len(run.step_R) - 1])
    for fraction in (*FRACTIONS, *LATE):
        if not FEWEST_SEEN <= (seen := run.seen(fraction)) < len(run.step_R):
            continue
        loss_K = cleaned(run.loss_R[:seen])
        for lr_R in [None] if run.lr_R is None else [None, run.lr_R]:
            basis = Basis.of(run.step_R, lr_R, seen)
            try:
                known = SeenRun.of(basis, loss_K, seen, last)
            except ValueError:
                continue  # still in the warm-up
            yield ArchivedForecast(run, fraction, situation(run.step_R, lr_R, seen, basis.first), known)
