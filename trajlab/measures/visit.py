"""What is done with each checkpoint of a series: hashed, scored, measured, stored.

`CheckpointVisit` does it, `CheckpointMeasure` is what a measure beside token losses has to offer. A checkpoint's row in
table `checkpoints` is written last and says that all its other rows are there.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from trajlab.averaging.over_series import SeriesAverages
from trajlab.checkpoints.sources import Checkpoint
from trajlab.checkpoints.weights import weight_files, weights_hash
from trajlab.data.documents import EvaluationText
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import RAW
from trajlab.evaluation.members import Members
from trajlab.store.run_store import RunStore
from trajlab.store.tables import CHECKPOINTS
from trajlab.terminal import say

DONE = CHECKPOINTS.name
"""The table whose row says that a checkpoint is done."""


class CheckpointMeasure(Protocol):
    """Something else to measure at every checkpoint than token losses; its rows go to its table."""

    table: str

    def prepare(self, text: EvaluationText, tokenizer: Any) -> None:
        """Once, before the first checkpoint."""
        ...

    def rows(self, model: CheckpointModel) -> pa.Table:
        """What is measured of a checkpoint, without the columns that the store adds."""
        ...


@dataclass
class CheckpointVisit:
    """What is done with each checkpoint, and what all of them share."""

    store: RunStore
    open_model: Callable[[Path], CheckpointModel]
    """The model of a checkpoint's folder."""
    context: RunContext
    members: Members
    measures: Sequence[CheckpointMeasure]
    averages: SeriesAverages
    hashes: dict[str, str] = field(default_factory=dict)
    """Revision by hash of its weights."""

    def __post_init__(self) -> None:
        for row in done_rows(self.store):
            self.hashes.setdefault(row["weights_hash"], row["revision"])

    def visit(self, checkpoint: Checkpoint, folder: Path, place: str | None) -> None:
        """Load a checkpoint, feed it to the averages and, unless ``place`` is None, score it and store its rows."""
        started = time.perf_counter()
        digest = weights_hash(folder)
        model = self.open_model(folder)
        self.averages.push(checkpoint, {n: p.detach() for n, p in model.lm.named_parameters()})
        if place is None:
            return
        loaded = time.perf_counter()
        tables = self._score(checkpoint, model)
        for table, rows in tables.items():
            self.store.write(table, checkpoint.interval, rows)
        first = self.hashes.setdefault(digest, checkpoint.revision)
        row = {
            "revision": checkpoint.revision,
            "weights_hash": digest,
            "same_weights_as": first if first != checkpoint.revision else None,
            "parameters": sum(p.numel() for p in model.lm.parameters()),
            "weights_bytes": sum(f.stat().st_size for f in weight_files(folder)),
            "seconds_load": loaded - started,
            "seconds_eval": time.perf_counter() - loaded,
        }
        self.store.write(DONE, checkpoint.interval, pa.Table.from_pylist([row], schema=CHECKPOINTS.rows))
        self._tell(checkpoint, place, row)

    def _score(self, checkpoint: Checkpoint, model: CheckpointModel) -> dict[str, pa.Table]:
        """Rows of consumers and measures by table; measures see the raw weights alone."""
        tables = self.context.engine.evaluate(checkpoint.interval, model.lm, self.members.consumers, [self.averages])
        for measure in self.measures:
            pieces = [tables[measure.table]] if measure.table in tables else []
            tables[measure.table] = pa.concat_tables([*pieces, measure.rows(model)])
        return tables

    def _tell(self, checkpoint: Checkpoint, place: str, row: dict[str, Any]) -> None:
        losses = self.context.latest.losses
        raw = " ".join(f"{split} {loss:.4f}" for (split, variant), loss in losses.items() if variant == RAW)
        seconds = row["seconds_load"] + row["seconds_eval"]
        say(
            f"{self.store.run} | {checkpoint.revision} ({place}) | {checkpoint.tokens:,} tokens | {raw} | {seconds:.1f} s"
        )
        if row["same_weights_as"]:
            say(
                f"warning: {checkpoint.revision} has the very weights of {row['same_weights_as']} "
                f"[{row['weights_hash']}]: one of the two is wrong at its source"
            )


def done_rows(store: RunStore) -> list[dict[str, Any]]:
    """Interval, step, revision and weights_hash of each checkpoint that is done."""
    rows = store.read(DONE, ["interval", "step", "revision", "weights_hash"])
    return rows.to_pylist() if rows else []


def duplicates(store: RunStore) -> list[list[str]]:
    """Groups of revisions that share their weights."""
    groups: dict[str, list[str]] = {}
    for row in done_rows(store):
        groups.setdefault(row["weights_hash"], []).append(row["revision"])
    return [g for g in groups.values() if len(g) > 1]
