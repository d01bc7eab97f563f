"""Tokens to a common loss: which condition gets there first, runs that never do included."""

import numpy as np
import pandas as pd

from trajlab.analysis.conditions import conditions, with_condition
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section
from trajlab.analysis.target_times import TimeToTarget, time_to_target


def section(runs: Runs) -> Section | None:
    """For every experiment and split with several conditions; None without one."""
    part = Section("Tokens to a loss")
    frames = [condition.intervals for condition in conditions(runs)]
    groups: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for frame in frames:
        groups.setdefault((str(frame["experiment"].iloc[0]), str(frame["split"].iloc[0])), []).append(frame)
    for (experiment, split), own in groups.items():
        if len(own) < 2:
            continue
        try:
            found = target_times(pd.concat(own, ignore_index=True))
        except ValueError as e:
            part.problem(f"{experiment}, {split}: not computed: {e}.")
            continue
        part.table(
            found.table(),
            f"{experiment}, {split}: tokens until the loss is {found.target:.4g} nats, the lowest that half of the runs of every "
            "condition reach. Kaplan–Meier median with its 95 % interval (an end that no run shows is left open); the difference is "
            "of means up to the tokens until which all runs were watched; seeds, not text.",
        )
    return part if part.blocks else None


def target_times(frame: pd.DataFrame) -> TimeToTarget:
    """At the lowest loss that half of the runs of every condition reach."""
    frame = with_condition(frame)
    lowest = frame.groupby(["condition", "run"])["loss"].min()
    return time_to_target(frame, float(lowest.groupby("condition").apply(_half).max()))


def _half(lowest_S: pd.Series) -> float:
    """The level that at least half of the runs get to."""
    return float(np.sort(lowest_S.to_numpy())[(len(lowest_S) - 1) // 2])
