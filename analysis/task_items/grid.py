"""Questions × checkpoints of one run, from the rows of table `task_items`. Shapes: M questions, C checkpoints."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

KEYS = ["task", "item"]


@dataclass(frozen=True)
class ItemGrid:
    """The questions of one run along its checkpoints; the order of rows and columns is the same in all parts."""

    items: pd.DataFrame
    """A row per question: task, item, digest, chance."""
    checkpoints: pd.DataFrame
    """A row per checkpoint: interval, step, tokens."""
    correct_MC: NDArray[np.float64]
    """What the chosen option is worth; NaN where a question has no right answer."""
    bits_MC: NDArray[np.float64]
    """Bits per byte of the right option; NaN where there is none."""
    margin_MC: NDArray[np.float64]
    """How far the right option is ahead of the best other one (nats; per token or byte if the task chooses by these).

    Over 0 where the choice is right; NaN for questions without options.
    """

    def at(self, column: int) -> pd.DataFrame:
        """The questions at one checkpoint, as `compare_items` takes them: correct and bits beside task, item, digest."""
        return self.items.assign(correct=self.correct_MC[:, column], bits=self.bits_MC[:, column])

    def of(self, task: str) -> "ItemGrid":
        """The questions of one task."""
        own = (self.items["task"] == task).to_numpy()
        parts = (self.correct_MC[own], self.bits_MC[own], self.margin_MC[own])
        return ItemGrid(self.items[own].reset_index(drop=True), self.checkpoints, *parts)


def item_grid(rows: pd.DataFrame) -> ItemGrid:
    """The rows of one run, in the order of tasks, questions and checkpoints.

    A checkpoint that lacks a task is left out, with the others kept whole. Raises ValueError for rows of several runs, for
    a question that stands twice at a checkpoint or is another one there (its digest), and where no checkpoint is whole.
    """
    if len(runs := rows[[c for c in ("experiment", "run") if c in rows]].drop_duplicates()) > 1:
        raise ValueError(f"rows of {len(runs)} runs: select one, runs.select(run=…)")
    if (twice := rows.duplicated([*KEYS, "interval"])).any():
        raise ValueError(f"{rows.loc[twice, [*KEYS, 'interval']].iloc[0].to_dict()} stands more than once")
    if len(other := rows.groupby(KEYS)["digest"].nunique().loc[lambda n: n > 1]):
        raise ValueError(f"question {other.index[0]} is not the same at all checkpoints; was its task file changed?")
    counts = rows.groupby("interval").size()
    rows = rows[rows["interval"].isin(counts[counts == rows.groupby(KEYS).ngroups].index)]
    if rows.empty:
        raise ValueError(f"no checkpoint has all {len(counts)} tasks' questions: select tasks that all have")
    rows = rows.sort_values([*KEYS, "interval"], kind="stable")
    C = rows["interval"].nunique()
    first = rows.iloc[::C]
    marks = rows.iloc[:C][[c for c in ("interval", "step", "tokens") if c in rows]]
    grids = [np.asarray(v, dtype=float).reshape(-1, C) for v in (rows["correct"], _bits(rows), _margins(rows))]
    return ItemGrid(first[[*KEYS, "digest", "chance"]].reset_index(drop=True), marks.reset_index(drop=True), *grids)


def aligned(frames: Iterable[pd.DataFrame]) -> list[pd.DataFrame]:
    """The questions that all frames hold, in one order. Raises ValueError where they share none, or differ in one."""
    indexed = [f.set_index(KEYS) for f in frames]
    shared = indexed[0].index
    for f in indexed[1:]:
        shared = shared.intersection(f.index)
    if not len(shared):
        raise ValueError("the two have no question in common")
    found = [f.loc[shared.sort_values()] for f in indexed]
    for f in found[1:]:
        if (other := f["digest"] != found[0]["digest"]).any():
            raise ValueError(f"question {f.index[other][0]} is another one in the second ({int(other.sum())} are)")
    return [f.reset_index() for f in found]


def _bits(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Bits per byte of the right option."""
    total = rows["gold_log_likelihood"].to_numpy(float)
    sizes = [
        np.nan if pd.isna(gold) or not len(size) else size[int(gold)]
        for gold, size in zip(rows["gold"], rows["option_bytes"], strict=True)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -total / np.log(2) / np.asarray(sizes, dtype=float)
    return np.where(np.isfinite(bits), bits, np.nan)


def _margins(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Right option less the best other one, in whichever of three units the task's choices were made in.

    BIG-bench chooses by the likelihood per token, the harness' ``acc`` by the sum, its ``acc_norm`` per byte; the unit that
    reproduces most of the stored choices is it.
    """
    units = [np.array([_ahead(*one) for one in zip(*_columns(rows, unit), strict=True)]) for unit in UNITS]
    right = rows["correct"].to_numpy(float) >= 0.5
    margin = np.full(len(rows), np.nan)
    for _, place in rows.reset_index(drop=True).groupby("task").indices.items():
        agreeing = [((u[place] > 0) == right[place]).sum() for u in units]
        margin[place] = units[int(np.argmax(agreeing))][place]
    return margin


UNITS = ("option_tokens", None, "option_bytes")


def _columns(rows: pd.DataFrame, unit: str | None) -> tuple[Iterable[object], ...]:
    sizes = rows[unit] if unit else [1.0] * len(rows)
    return rows["option_log_likelihoods"], sizes, rows["gold"]


def _ahead(values: NDArray[np.float64], sizes: NDArray[np.float64] | float | None, gold: float | None) -> float:
    if gold is None or gold != gold or len(values) < 2 or sizes is None:
        return np.nan
    each = np.asarray(values, dtype=float) / np.maximum(sizes, 1)
    return float(each[int(gold)] - np.delete(each, int(gold)).max())
