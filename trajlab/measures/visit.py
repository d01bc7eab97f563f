"""What is done with each checkpoint of a series: hashed, scored, measured, stored.

`CheckpointVisit` does it, `CheckpointMeasure` is what a measure beside token losses has to offer. Each measure's rows are
stored as soon as it is done, and its row in table `measured` after them; the checkpoint's row in table `checkpoints` says
what it is.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from trajlab.averaging.over_series import SeriesAverages
from trajlab.checkpoints.sources import Checkpoint
from trajlab.checkpoints.weights import weight_files, weights_hash
from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import RAW, EvaluationEngine
from trajlab.evaluation.members import Members
from trajlab.evaluation.separator_cost import SeparatorCost
from trajlab.measures.progress import Progress, done_rows, earlier_with, part_suffix
from trajlab.measures.scoring_progress import ScoringProgress
from trajlab.store.run_store import RunStore
from trajlab.store.tables import CHECKPOINTS, MEASURED
from trajlab.terminal import say

LOSSES = "losses:"
"""What the token losses of a split are called among the measures."""


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
    progress: Progress
    open_model: Callable[[Path], CheckpointModel]
    """The model of a checkpoint's folder. Raises UserError where it doesn't fit the series."""
    context: RunContext
    members: Members
    measures: Mapping[str, CheckpointMeasure]
    """By the names that table `measured` knows them by."""
    averages: SeriesAverages
    confirm: Callable[[Checkpoint], None] = lambda checkpoint: None
    """Asked before rows are stored. Raises LostLease where another process has taken the checkpoint over."""
    _warned: bool = False

    def visit(self, checkpoint: Checkpoint, folder: Path, place: str | None) -> None:
        """Load a checkpoint, feed it to the averages and, unless ``place`` is None, measure what it lacks.

        Raises UserError, before anything is stored, where the checkpoint can't be opened, and LostLease where another
        process has taken it over.
        """
        started = time.perf_counter()
        digest = weights_hash(folder)
        self._refuse_other_weights(checkpoint, digest)
        model = self.open_model(folder)
        self.averages.push(checkpoint, {n: p.detach() for n, p in model.lm.named_parameters()})
        if place is None:
            return
        loaded = time.perf_counter()
        self._losses(checkpoint, model)
        for name in self.progress.missing(checkpoint, list(self.measures)):
            self._measure(checkpoint, name, model)
        if checkpoint.index not in self.progress.described:
            self._describe(checkpoint, folder, model, digest, loaded - started, time.perf_counter() - loaded)
        self._tell(checkpoint, place, time.perf_counter() - started)

    def _refuse_other_weights(self, checkpoint: Checkpoint, digest: str) -> None:
        row = self.progress.described.get(checkpoint.index)
        if row is not None and row["weights_hash"] != digest:
            raise UserError(
                f"{checkpoint.revision} has other weights [{digest}] than when it was measured first "
                f"[{row['weights_hash']}]; bring those back, or write overwrite=true"
            )

    def _losses(self, checkpoint: Checkpoint, model: CheckpointModel) -> None:
        """Rows of the loss consumers for the splits that lack them: all at once, or the later ones each by itself."""
        splits = self.context.engine.splits
        missing = self.progress.missing(checkpoint, [f"{LOSSES}{s}" for s in splits])
        new = len(missing) == len(splits)
        for together in [missing] if new and missing else [[m] for m in missing]:
            started = time.perf_counter()
            own = {s: splits[s] for s in splits if f"{LOSSES}{s}" in together}
            between = {s: getattr(w, "separator_id", None) for s, w in own.items()}
            separators = SeparatorCost(between, model.lm.vocab_size)
            heard = ScoringProgress(f"{self.store.run} | {checkpoint.revision}")
            engine = EvaluationEngine(own, self.context.engine.batch_windows, heard)
            consumers = [*self.members.consumers, separators]
            tables = engine.evaluate(checkpoint.interval, model.lm, consumers, [self.averages])
            del tables[separators.table]
            self._warn_once(separators.warnings())
            for table, rows in tables.items():
                if len(rows) or new:
                    self._write(table, checkpoint, rows, "" if new else part_suffix(together[0]))
            for name in together:
                self._done(checkpoint, name, (time.perf_counter() - started) / len(together))

    def _warn_once(self, warnings: Sequence[str]) -> None:
        """The first checkpoint says it for the series."""
        if warnings and not self._warned:
            self._warned = True
            for words in dict.fromkeys(warnings):
                say(f"warning: {words}")

    def _measure(self, checkpoint: Checkpoint, name: str, model: CheckpointModel) -> None:
        """Rows of one measure; measures see the raw weights alone."""
        started = time.perf_counter()
        measure = self.measures[name]
        self._write(measure.table, checkpoint, measure.rows(model), part_suffix(name))
        self._done(checkpoint, name, time.perf_counter() - started)

    def _done(self, checkpoint: Checkpoint, name: str, seconds: float) -> None:
        row = {"measure": name, "revision": checkpoint.revision, "seconds": seconds}
        rows = pa.Table.from_pylist([row], schema=MEASURED.rows)
        self._write(MEASURED.name, checkpoint, rows, part_suffix(name))
        self.progress.add(checkpoint, name)

    def _describe(
        self, checkpoint: Checkpoint, folder: Path, model: CheckpointModel, digest: str, load: float, took: float
    ) -> None:
        first = earlier_with(digest, checkpoint.index, done_rows(self.store))
        row = {
            "revision": checkpoint.revision,
            "weights_hash": digest,
            "same_weights_as": first,
            "parameters": sum(p.numel() for p in model.lm.parameters()),
            "weights_bytes": sum(f.stat().st_size for f in weight_files(folder)),
            "seconds_load": load,
            "seconds_eval": took,
        }
        self._write(CHECKPOINTS.name, checkpoint, pa.Table.from_pylist([row], schema=CHECKPOINTS.rows))
        if first:
            say(
                f"warning: {checkpoint.revision} has the very weights of {first} [{digest}]: one of the two is wrong at "
                "its source"
            )

    def _write(self, table: str, checkpoint: Checkpoint, rows: pa.Table, suffix: str = "") -> None:
        self.confirm(checkpoint)
        self.store.write(table, checkpoint.interval, rows, suffix)

    def _tell(self, checkpoint: Checkpoint, place: str, seconds: float) -> None:
        losses = {s: loss for (s, variant), loss in self.context.latest.losses.items() if variant == RAW}
        self.context.latest.losses.clear()
        raw = " ".join(f"{split} {loss:.4f}" for split, loss in losses.items()) or "losses were there"
        say(
            f"{self.store.run} | {checkpoint.revision} ({place}) | {checkpoint.tokens:,} tokens | {raw} | {seconds:.1f} s"
        )
        if bad := [s for s, loss in losses.items() if not math.isfinite(loss)]:
            say(
                f"warning: {checkpoint.revision} has no finite loss on {', '.join(bad)}: its weights or its arithmetic "
                f"(model.dtype) are broken; the report leaves it out"
            )


def fitting_model(
    open_model: Callable[[Path], CheckpointModel], same_ids: Callable[[Path], bool], context: int, largest_id: int
) -> Callable[[Path], CheckpointModel]:
    """``open_model`` for a series: a model with fewer positions than the windows, or another tokenizer, is refused."""

    def opened(folder: Path) -> CheckpointModel:
        if not same_ids(folder):
            raise UserError(
                f"{folder}: its tokenizer cuts the text otherwise than that of the series' first checkpoint, so losses "
                "don't compare; set model.tokenizer to the one that all were trained with"
            )
        model = open_model(folder)
        model.refuse_ids(largest_id)
        longest = getattr(model.lm, "longest", None)
        if longest is not None and longest < context:
            raise UserError(
                f"{folder}: the model takes {longest} positions, the windows have {context}; write "
                f"evaluation.context={longest} for the whole series"
            )
        return model

    return opened
