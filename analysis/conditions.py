"""Conditions: runs that differ in nothing but their seed, so that seeds can be subjects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from trajlab.analysis.load import Runs, without_seed

SETTING = ("experiment", "condition", "variant", "split")
"""What must be one where curves are pooled; only seeds may differ."""


def with_condition(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with column ``condition``: each run's name without its seed; a frame without ``run`` as it is.

    Runs that have names of their own and a seed of their own each, none named in the run, are one condition.
    """
    if "run" not in frame or "condition" in frame:
        return frame
    named = frame["run"].astype(str).str.contains(r"(?:^|,)seed=").any()
    if not named and "seed" in frame and frame["seed"].notna().all():
        own = frame.groupby("run")["seed"].nunique().max() == 1 and frame.groupby("seed")["run"].nunique().max() == 1
        if own:
            return frame.assign(condition="")
    return frame.assign(condition=frame["run"].astype(str).map(without_seed))


def refuse_several(frame: pd.DataFrame, columns: Sequence[str] = SETTING) -> None:
    """Raise ValueError where rows of several conditions, variants, splits or experiments would be taken for one."""
    frame = with_condition(frame)
    for column in columns:
        values = sorted(map(str, frame[column].dropna().unique())) if column in frame else []
        if len(values) > 1:
            raise ValueError(
                f"{column} holds {', '.join(values)}: curves of different conditions are not pooled; pass the rows of one"
            )


def refuse_other_tokens(frame: pd.DataFrame) -> None:
    """Raise ValueError where runs of one setting were evaluated at other tokens at an interval of the same number."""
    if not {"tokens", "interval", "run"} <= set(frame.columns):
        return
    frame = with_condition(frame)
    keys = [c for c in SETTING if c in frame]
    for label, rows in frame.groupby([*keys, "interval"], dropna=False):
        if len(rows["tokens"].unique()) > 1:
            ordered = rows.sort_values("tokens", kind="stable")
            low, high = ordered.iloc[0], ordered.iloc[-1]
            raise ValueError(
                f"interval {label[-1]} is not at the same tokens in all runs: {low['run']} at {low['tokens']:,.0f} tokens, "
                f"{high['run']} at {high['tokens']:,.0f}; put the runs on common tokens with trajlab.analysis.align first"
            )


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
    # `Runs.select` would filter every table that has been read
    steps = dict(iter(runs.steps.groupby("experiment"))) if not runs.steps.empty else {}
    for (experiment, swept, split), part in frame.groupby(["experiment", setting, "split"]):
        members = set(part["run"])
        manifests = [m for m in runs.manifests if m.get("experiment") == experiment and m.get("run") in members]
        sizes = {m.get("parameters") for m in manifests}
        words = [str(experiment), str(swept), str(split) if several[experiment] > 1 else ""]
        yield Condition(
            name="_".join(w.replace("/", "-").replace("=", "-").replace(",", "_") for w in words if w),
            intervals=part.reset_index(drop=True),
            steps=rows[rows["run"].isin(members)] if (rows := steps.get(experiment)) is not None else runs.steps[:0],
            caption=Runs({}, manifests).caption,
            parameters=sizes.pop() if len(sizes) == 1 else None,
        )
