"""The published file of 188 runs under cosine and WSD schedules, as complete curves: `read_schedule_runs`.

The file (``lr_schedules.parquet``) has a row per logged step: run, step, lr, train_loss, val_loss, layers, width, dataset,
schedule, peak_lr, iterations. Most cooldowns were started from a checkpoint of a run at a constant rate, and their rows begin
there. A forecast needs the whole curve, so such a run is joined to its trunk.
"""

import numpy as np
import pandas as pd

FAMILY = ("layers", "width", "dataset")
"""Runs that differ in none of these are one family: one model on one corpus."""
JOIN = 0.005
"""Largest distance in nats between a branch and its trunk where they meet **(ours)**; beyond it the trunk is another run's.

In sight when it was chosen: the joins of this file, whose true ones are within 0.005."""
FALLEN_AT_JOIN = 0.15
"""How far the branch's rate may have fallen at its first row, against the trunk's **(ours)**."""


COLUMNS = ("run", "step", "lr", "val_loss", "layers", "width", "dataset", "schedule", "peak_lr")


def is_schedule_runs(frame: pd.DataFrame) -> bool:
    """Whether a frame is the published file, by its columns."""
    return set(COLUMNS) <= set(frame.columns)


def read_schedule_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Complete curves: curve, step, loss (validation, nats), lr, family, run, schedule (cos or wsd), branch (bool).

    A branch without a trunk that meets it is left out, and so is a run that diverged (its last loss is above its first third's
    median): no forecast is asked of one.
    """
    runs = {str(name): _measured(rows) for name, rows in frame.groupby("run", sort=True)}
    whole = {name: run for name, run in runs.items() if len(run) and run["step"].iloc[0] < 0.05 * run["step"].iloc[-1]}
    found = []
    for name, run in runs.items():
        if not len(run):
            continue
        complete = run if name in whole else _joined(run, list(whole.values()))
        if complete is not None and not _diverged(complete):
            found.append(complete.assign(curve=name, run=name, branch=name not in whole))
    columns = ["curve", "step", "loss", "lr", "family", "run", "schedule", "branch"]
    return pd.concat(found, ignore_index=True)[columns]


def _measured(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with a validation loss, each step once (a restarted run logged some twice), with the rate there."""
    rows = rows.sort_values("step", kind="stable").drop_duplicates(["step", "val_loss"])
    known = rows.dropna(subset=["lr"]).drop_duplicates("step", keep="last")
    losses = rows.dropna(subset=["val_loss"]).drop_duplicates("step", keep="last")
    first = rows.iloc[0]
    return pd.DataFrame(
        {
            "step": losses["step"].to_numpy(float),
            "loss": losses["val_loss"].to_numpy(float),
            "lr": np.interp(losses["step"], known["step"], known["lr"]),
            "family": "-".join(str(first[key]) for key in FAMILY),
            "schedule": first["schedule"],
            "peak_lr": first["peak_lr"],
        }
    )


def _joined(branch: pd.DataFrame, trunks: list[pd.DataFrame]) -> pd.DataFrame | None:
    """The branch after the trunk of its family and rate that lies nearest where they meet."""
    start, gaps = branch["step"].iloc[0], []
    for trunk in trunks:
        same = all(trunk[key].iloc[0] == branch[key].iloc[0] for key in ("family", "peak_lr", "schedule"))
        if same and trunk["step"].iloc[-1] >= start:
            meeting = np.interp(start, trunk["step"], trunk["loss"]), np.interp(start, trunk["step"], trunk["lr"])
            steady = abs(meeting[1] / branch["lr"].iloc[0] - 1) < FALLEN_AT_JOIN
            gaps.append((abs(meeting[0] - branch["loss"].iloc[0]) if steady else np.inf, trunk))
    gap, trunk = min(gaps, key=lambda item: item[0], default=(np.inf, branch))
    return None if gap > JOIN else pd.concat([trunk[trunk["step"] < start], branch], ignore_index=True)


def _diverged(run: pd.DataFrame) -> bool:
    third = run["loss"].iloc[: max(len(run) // 3, 1)]
    return bool(run["loss"].iloc[-1] > third.median())
