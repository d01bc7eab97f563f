"""Bands from a user's own finished runs: `own_calibration`, `tables_of`.

Runs that registered forecasts and have ended say how far the default is off on this user's models and data. Where enough of
them have been in the same situation, their errors take the place of the archive's. Enough is 19: the 5 % and 95 % quantiles of a
new run's error lie among those of n exchangeable ones only from n = 19 on (1/(n + 1) ≤ 0.05). It holds for runs
like those that are there: seeds of one condition say nothing about another.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from trajlab.analysis.forecasting.calibration import LEVELS, Calibration, Situation
from trajlab.analysis.forecasting.default import Tables, shipped
from trajlab.analysis.forecasting.registered import SCORES

ENOUGH = 19
"""Finished runs in one situation from which their own quantiles are used."""


def scored_runs(runs_dir: Path) -> pd.DataFrame:
    """Scored forecasts of all finished runs ``<runs_dir>/<experiment>/<run>``: run, seen (share), known, ahead, z, inside, …

    A file that can't be read is left out.
    """
    rows = []
    for path in sorted(runs_dir.glob(f"*/*/registered/{SCORES}")):
        try:
            found = json.loads(path.read_text())
            rows += [{"run": str(path.parents[1]), **row, "seen": row["seen"] / row["target"]} for row in found]
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return pd.DataFrame(
        rows, columns=["run", "share", "seen", "known", "ahead", "z", "registered", "observed", "inside"]
    )


def own_calibration(scored: pd.DataFrame) -> pd.DataFrame:
    """Rows of `Calibration.table` for the situations in which at least `ENOUGH` runs have ended, one forecast a run."""
    usable = scored.dropna(subset=["z"])
    usable = usable.assign(bucket=[Situation(float(seen), True, False).bucket for seen in usable["seen"]])
    usable = usable.drop_duplicates(["run", "known", "ahead", "bucket"])
    rows = []
    for (known, ahead, bucket), cell in usable.groupby(["known", "ahead", "bucket"]):
        n = len(cell)
        if n < ENOUGH:
            continue
        sorted_z = np.sort(cell["z"].to_numpy(float))
        heights = np.arange(1, n + 1) / (n + 1)  # where a new one lies among them
        low, low50, high50, high = np.interp(LEVELS, heights, sorted_z)
        q = {
            "q05": min(low, -0.05),
            "q25": min(low50, -0.05),
            "q50": 0.0,
            "q75": max(high50, 0.05),
            "q95": max(high, 0.05),
        }
        here = Situation(float(cell["seen"].iloc[0]), bool(known), bool(ahead))
        shift = shipped().calibration.shift(here)  # z is about the forecast that was given, which stays
        q = {name: value + shift for name, value in q.items()}
        rows.append(
            {"known": bool(known), "ahead": bool(ahead), "bucket": int(bucket), "curves": n, "families": 1, **q}
        )
    return pd.DataFrame(
        rows, columns=["known", "ahead", "bucket", "curves", "families", "q05", "q25", "q50", "q75", "q95"]
    )


def tables_of(run: Path) -> Tables:
    """The numbers shipped, with the bands of the finished runs beside this one where there are enough."""
    own = own_calibration(scored_runs(run.parent.parent))
    if own.empty:
        return shipped()
    keys = ["known", "ahead", "bucket"]
    both = pd.concat([own, shipped().calibration.table], ignore_index=True).drop_duplicates(keys)
    return replace(shipped(), calibration=Calibration(both))
