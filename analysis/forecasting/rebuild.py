"""The archive's numbers out of curves: `Archive`, which can leave a family out.

    archive = Archive.of(curves)          # every curve fitted once
    archive.tables()                      # the prior and the calibration that trajlab ships
    archive.tables(without="gpt-s")       # for a forecast of that family

Each archived forecast behind the calibration is made with a prior that does not know its own family.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trajlab.analysis.forecasting.archive import ArchivedFit, Prior, build_prior, fit_archived
from trajlab.analysis.forecasting.calibration import Calibration, calibrate
from trajlab.analysis.forecasting.default import Tables, outlook, situation
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
    """Complete curves: their fits, and their forecasts at each fraction scaled by the spread."""

    fits: tuple[ArchivedFit, ...]
    scaled: pd.DataFrame
    """curve, family, fraction (also `LATE`), known, ahead, bucket, error (forecast − loss at the end, nats), z."""

    @classmethod
    def of(cls, curves: pd.DataFrame) -> "Archive":
        """From a frame of `read_curves`. Curves without a rate calibrate only the forecasts of unknown schedules."""
        fits, runs = [], []
        for name, rows in curves.groupby("curve", sort=True):
            rows = rows.dropna(subset=["loss"])
            if len(rows) < 2 * FEWEST_SEEN:
                continue
            run = Run.of(str(name), rows)
            runs.append(run)
            if run.lr_R is not None:
                fits.append(fit_archived(run.family, run.step_R, run.loss_R, run.lr_R))
        priors = {family: build_prior(fits, family) for family in sorted({run.family for run in runs})}
        scaled = [row for run in runs for row in _scaled(run, priors[run.family])]
        return cls(tuple(fits), pd.DataFrame(scaled))

    def tables(self, without: str | None = None) -> Tables:
        """The numbers of all families but one."""
        return Tables(build_prior(self.fits, without), calibrate(self.scaled[self.scaled["family"] != without]))


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


def _scaled(run: Run, prior: Prior) -> Iterator[dict[str, object]]:
    """One row per fraction, with the schedule known (where it is) and hidden."""
    tables = Tables(prior, Calibration(pd.DataFrame(columns=["known", "ahead", "bucket"])))
    for fraction in (*FRACTIONS, *LATE):
        if not FEWEST_SEEN <= (seen := run.seen(fraction)) < len(run.step_R):
            continue
        for lr_R in [None] if run.lr_R is None else [None, run.lr_R]:
            try:
                found = outlook(run.step_R[:seen], run.loss_R[:seen], run.step_R[seen:], lr_R, tables, rivals=False)
            except ValueError:
                continue  # still in the warm-up
            where = found.situation
            error = float(found.loss_M[-1] - run.loss_R[-1])
            cell = {"known": where.known, "ahead": where.ahead, "bucket": where.bucket}
            scale = {"error": error, "z": -error / float(found.spread_M[-1])}
            yield {"curve": run.name, "family": run.family, "fraction": fraction, **cell, **scale}
