"""Conditions: runs that differ in nothing but their seed, so that seeds can be subjects."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from trajlab.analysis.load import Runs, without_seed


@dataclass(frozen=True)
class Condition:
    """One experiment, one setting of whatever else was swept, one weight variant, one split; several seeds."""

    name: str
    """Short and unique within a report, fit for a file name."""
    intervals: pd.DataFrame
    steps: pd.DataFrame
    caption: str
    parameters: int | None
    """Parameters of the model, where all runs agree."""

    @property
    def seeds(self) -> int:
        """How many runs there are."""
        return int(self.intervals["run"].nunique())


def conditions(runs: Runs, *, variant: str = "raw") -> Iterator[Condition]:
    """The conditions of these runs, in order, of one weight variant; runs without a seed (published models) have none."""
    frame = runs.intervals
    if frame.empty or frame["seed"].isna().all():
        return
    frame = frame[(frame["variant"] == variant) & frame["seed"].notna()]
    setting = frame["run"].map(without_seed)
    several = frame.groupby(["experiment"])["split"].nunique()
    for (experiment, swept, split), part in frame.groupby(["experiment", setting, "split"]):
        own = runs.select(experiment=experiment)
        members = set(part["run"])
        manifests = [m for m in own.manifests if m.get("run") in members]
        sizes = {m.get("parameters") for m in manifests}
        words = [str(experiment), str(swept), str(split) if several[experiment] > 1 else ""]
        yield Condition(
            name="_".join(w.replace("/", "-").replace("=", "-").replace(",", "_") for w in words if w),
            intervals=part.reset_index(drop=True),
            steps=own.steps[own.steps["run"].isin(members)] if not own.steps.empty else own.steps,
            caption=Runs({}, manifests).caption,
            parameters=sizes.pop() if len(sizes) == 1 else None,
        )
