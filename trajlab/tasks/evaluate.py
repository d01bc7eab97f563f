"""``task=evaluate``: a series of checkpoints goes through the evaluation engine like the intervals of a training run.

Every checkpoint is brought, hashed, scored by the same consumers as a run's intervals, and measured on whatever else
is asked for (sequences, tasks). Its row in table `checkpoints` is written last: a second start skips the checkpoints
that have one and does the others again from their beginning. ``task=mixture`` draws the sequences from two models.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import torch
from omegaconf import DictConfig

from trajlab.averaging import Averager, RunningAverages
from trajlab.checkpoints.sources import Checkpoint, CheckpointSeries, on_disk, prefetched
from trajlab.checkpoints.weights import weight_files, weights_hash
from trajlab.config import trial
from trajlab.config.build import build
from trajlab.config.parse import Configured, configured, refusals
from trajlab.config.schema import CheckpointModelConfig, EvaluateConfig, TrainerConfig
from trajlab.data.documents import DocumentWindows, EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel, open_tokenizer
from trajlab.evaluation.context import RunCallback, RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import TokenSchedule
from trajlab.measures.lm_eval import HarnessTasks
from trajlab.measures.multiple_choice import MultipleChoice
from trajlab.protocols import LossConsumer
from trajlab.store.manifest import manifest_entries, now, refuse_other_data
from trajlab.store.run_store import RunStore
from trajlab.terminal import say

DONE = "checkpoints"
"""The table whose row says that a checkpoint is done."""

BACKENDS = {"bigbench": MultipleChoice, "lm_eval": HarnessTasks}

DEVICES = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda", "mps": "mps"}


class CheckpointMeasure(Protocol):
    """Something else to measure at every checkpoint than token losses; its rows go to its table."""

    table: str

    def prepare(self, text: EvaluationText, tokenizer: Any) -> None:
        """Once, before the first checkpoint."""
        ...

    def rows(self, model: CheckpointModel) -> pa.Table:
        """What is measured of a checkpoint, without the columns that the store adds."""
        ...


# ---- task=evaluate


def evaluate(config: DictConfig) -> None:
    """Evaluate the checkpoints of a series that are not evaluated yet."""
    asked = configured(config, EvaluateConfig, _problems(config))
    checked = asked.checked
    folder = Path(checked.runs_dir) / checked.name / checked.model.name
    store = RunStore(folder, checked.name, checked.model.name, None)
    with store.lock(), on_disk(str(store.folder)):
        if checked.overwrite:
            store.clear()
        if store.status(asked.plain) == "finished":
            say(f"{store.folder}: finished already, skipped (overwrite=true evaluates it again)")
            return
        _evaluate(asked, store)


def _problems(config: DictConfig) -> Callable[[EvaluateConfig], list[str]]:
    """What is found by trying, before a checkpoint is brought."""

    def check(c: EvaluateConfig) -> list[str]:
        nodes = {"averaging": config.averaging, "callbacks": config.callbacks, "measures": config.measures}
        series = refusals(lambda: build(config.model.series, "model.series"))
        return [*series, *(p for key, node in nodes.items() for p in trial.nodes_problems(node, key))]

    return check


def _evaluate(asked: Configured[EvaluateConfig], store: RunStore) -> None:
    checked = asked.checked
    threads = checked.trainer.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    series: CheckpointSeries = asked.build("model.series")
    checkpoints = series.checkpoints()
    done = _done(store, checkpoints)
    averagers = list(asked.build_all("averaging").values())
    wanted = _needed(checkpoints, done, averagers)
    todo = [c for c in checkpoints if c.index not in done]
    say(f"{store.folder}: {len(checkpoints)} checkpoints of {series.name}, {len(todo)} to evaluate")
    text = EvaluationText.of(checked.data, checked.evaluation.documents)
    if text.warning:
        say(f"warning: {text.warning}")
    job: _Evaluation | None = None
    with closing(prefetched(series, wanted)) as coming:
        for checkpoint, folder in coming:
            if job is None:
                job = _begin(asked, store, threads, text, checkpoints, folder)
                job.averages = SeriesAverages(averagers, checkpoints)
            job.visit(
                checkpoint,
                folder,
                None if checkpoint.index in done else f"{checkpoint.index + 1} of {len(checkpoints)}",
            )
    store.update_manifest(status="finished", finished=now(), series=series.name, duplicates=_duplicates(store))


def _done(store: RunStore, checkpoints: Sequence[Checkpoint]) -> set[int]:
    """Indices of the checkpoints that have a row. Raises UserError where a stored one is another than the listed one."""
    rows = store.read(DONE, ["interval", "step", "revision"])
    done = {r["interval"]: (r["step"], r["revision"]) for r in rows.to_pylist()} if rows else {}
    listed = {c.index: (c.step, c.revision) for c in checkpoints}
    for index, stored in done.items():
        if listed.get(index) != stored:
            raise UserError(
                f"{store.folder}: checkpoint {index} was {stored[1]!r} before and is {listed.get(index, (0, None))[1]!r} "
                "now; name the steps (model.series.steps), or write overwrite=true"
            )
    return set(done)


def _needed(checkpoints: Sequence[Checkpoint], done: set[int], averagers: Sequence[Averager]) -> list[Checkpoint]:
    """The checkpoints to bring: those without a row, and the done ones before them that an average is still made of."""
    todo = [c.index for c in checkpoints if c.index not in done]
    needed = set(todo)
    for averager in averagers:
        taken = taken_by(averager, checkpoints)
        for index in todo:
            seen = [i for i in taken if i <= index]
            needed |= {i for i, weight in zip(seen, averager.rule.weights(len(seen)), strict=True) if weight}
    # an average goes over consecutive checkpoints: from the first that is needed on, none is left out
    first = min(needed, default=len(checkpoints))
    return [c for c in checkpoints if c.index in needed or (averagers and first <= c.index <= max(todo))]


def taken_by(averager: Averager, checkpoints: Sequence[Checkpoint]) -> list[int]:
    """Indices of the checkpoints that an averager takes: those at which a multiple of its cadence has passed."""
    marks = [c.step if averager.unit == "steps" else c.tokens for c in checkpoints]
    return [i for i, (before, now_) in enumerate(zip([-1, *marks], marks, strict=False)) if averager.due(before, now_)]


class SeriesAverages:
    """Averages over a series as weight variants: each checkpoint is loaded once and pushed once."""

    def __init__(self, averagers: Sequence[Averager], checkpoints: Sequence[Checkpoint]) -> None:
        self._running = {a.name: RunningAverages(a.rule) for a in averagers}
        self._taken = {a.name: set(taken_by(a, checkpoints)) for a in averagers}

    def push(self, checkpoint: Checkpoint, parameters: Mapping[str, torch.Tensor]) -> None:
        """Take a checkpoint's parameters, for the averagers whose turn it is."""
        for name, running in self._running.items():
            if checkpoint.index in self._taken[name]:
                running.push(parameters)

    def variants(self) -> Iterator[tuple[str, Mapping[str, torch.Tensor]]]:
        """Every average that has begun."""
        return ((name, average) for name, average in self._running.items() if average)


def _begin(
    asked: Configured[EvaluateConfig], store: RunStore, threads: int, text: EvaluationText,
    checkpoints: Sequence[Checkpoint], folder: Path,
) -> "_Evaluation":  # fmt: skip
    """What all checkpoints share, from the first one's folder: tokenizer, windows, consumers, measures."""
    checked = asked.checked
    remote = checked.model.remote_code is not None
    tokenizer = open_tokenizer(checked.model.tokenizer or folder, remote_code=remote)
    model = _open(checked.model, checked.trainer, folder, tokenizer)
    data = EvaluationData.of(text, checked, tokenizer, model.context(checked.evaluation.context))
    context = RunContext(
        store,
        SeriesSchedule([c.tokens for c in checkpoints], 1),
        EvaluationEngine(data.splits, checked.trainer.evaluation_batch_windows),
        split_bytes={name: w.byte_count for name, w in data.splits.items()},
        token_texts=lambda ids: list(tokenizer.convert_ids_to_tokens(ids.tolist())),
    )
    callbacks = list(asked.build_all("callbacks").values())
    for callback in callbacks:
        if isinstance(callback, RunCallback):
            callback.bind(context)
    measures = _measures(asked)
    for measure in measures:
        measure.prepare(text, tokenizer)
    if store.manifest() is not None:
        refuse_other_data(store, data)
    store.write_config(asked.yaml)
    entries = manifest_entries(asked.plain, data, model.model, threads)
    store.update_manifest(**entries, status="running", started=now())
    return _Evaluation(checked, store, tokenizer, context, callbacks, measures)


def _measures(asked: Configured[EvaluateConfig]) -> list[CheckpointMeasure]:
    found = list(asked.build_all("measures").values())
    benchmark = asked.checked.benchmark
    if benchmark.tasks:
        found.append(BACKENDS[benchmark.backend](list(benchmark.tasks), shots=benchmark.shots, limit=benchmark.limit))
    return found


def _open(model: CheckpointModelConfig, trainer: TrainerConfig, folder: Path, tokenizer: Any) -> CheckpointModel:
    device = "cuda" if trainer.accelerator == "auto" and torch.cuda.is_available() else "cpu"
    return CheckpointModel.open(
        folder, tokenizer, dtype=model.dtype, device=DEVICES.get(trainer.accelerator, device),
        device_map=model.device_map, remote_code=model.remote_code is not None,
    )  # fmt: skip


class SeriesSchedule(TokenSchedule):
    """The marks of a series, which need not start at 0 nor number two."""

    def _check(self) -> None:
        """They come in order already."""


@dataclass
class _Evaluation:
    """What is done with each checkpoint."""

    checked: EvaluateConfig
    store: RunStore
    tokenizer: Any
    context: RunContext
    callbacks: list[Any]
    measures: list[CheckpointMeasure]
    averages: "SeriesAverages" = field(default_factory=lambda: SeriesAverages([], []))
    hashes: dict[str, str] = field(default_factory=dict)
    """Revision by hash of its weights."""

    def __post_init__(self) -> None:
        for row in _done_rows(self.store):
            self.hashes.setdefault(row["weights_hash"], row["revision"])

    def visit(self, checkpoint: Checkpoint, folder: Path, place: str | None) -> None:
        """Load a checkpoint, feed it to the averages and, unless ``place`` is None, score it and store its rows."""
        started = time.perf_counter()
        digest = weights_hash(folder)
        model = _open(self.checked.model, self.checked.trainer, folder, self.tokenizer)
        self.averages.push(checkpoint, {n: p.detach() for n, p in model.model.named_parameters()})
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
            "parameters": sum(p.numel() for p in model.model.parameters()),
            "weights_bytes": sum(f.stat().st_size for f in weight_files(folder)),
            "seconds_load": loaded - started,
            "seconds_eval": time.perf_counter() - loaded,
        }
        self.store.write(DONE, checkpoint.interval, pa.Table.from_pylist([row], schema=DONE_SCHEMA))
        self._tell(checkpoint, place, tables, row)

    def _score(self, checkpoint: Checkpoint, model: CheckpointModel) -> dict[str, pa.Table]:
        """Rows of consumers and measures by table; measures see the raw weights alone."""
        consumers = [c for c in self.callbacks if isinstance(c, LossConsumer)]
        tables = self.context.engine.evaluate(checkpoint.interval, model.model, consumers, [self.averages])
        for measure in self.measures:
            pieces = [tables[measure.table]] if measure.table in tables else []
            tables[measure.table] = pa.concat_tables([*pieces, measure.rows(model)])
        return tables

    def _tell(self, checkpoint: Checkpoint, place: str, tables: Mapping[str, pa.Table], row: dict[str, Any]) -> None:
        losses = tables["intervals"].to_pylist() if "intervals" in tables else []
        raw = " ".join(f"{r['split']} {r['loss']:.4f}" for r in losses if r["variant"] == "raw")
        seconds = row["seconds_load"] + row["seconds_eval"]
        say(
            f"{self.store.run} | {checkpoint.revision} ({place}) | {checkpoint.tokens:,} tokens | {raw} | {seconds:.1f} s"
        )
        if row["same_weights_as"]:
            say(
                f"warning: {checkpoint.revision} has the very weights of {row['same_weights_as']} "
                f"[{row['weights_hash']}]: one of the two is wrong at its source"
            )


DONE_SCHEMA = pa.schema(
    {
        "revision": pa.string(),
        "weights_hash": pa.string(),
        "same_weights_as": pa.string(),
        "parameters": pa.int64(),
        "weights_bytes": pa.int64(),
        "seconds_load": pa.float64(),
        "seconds_eval": pa.float64(),
    }
)


def _done_rows(store: RunStore) -> list[dict[str, Any]]:
    rows = store.read(DONE, ["interval", "revision", "weights_hash"])
    return rows.to_pylist() if rows else []


def _duplicates(store: RunStore) -> list[list[str]]:
    """Groups of revisions that share their weights."""
    groups: dict[str, list[str]] = {}
    for row in _done_rows(store):
        groups.setdefault(row["weights_hash"], []).append(row["revision"])
    return [g for g in groups.values() if len(g) > 1]


@dataclass(frozen=True)
class EvaluationData:
    """The text under one tokenizer, with what the manifest says of it."""

    splits: Mapping[str, DocumentWindows]
    source: str
    warning: str | None
    entropy_floor: Mapping[str, float]
    unique_tokens: int = 0

    @classmethod
    def of(cls, text: EvaluationText, checked: EvaluateConfig, tokenizer: Any, context: int) -> "EvaluationData":
        """Cut the text of every split."""
        evaluation = checked.evaluation
        splits, floors = {}, {}
        for name, documents in text.documents.items():
            try:
                windows = DocumentWindows.over(
                    documents, tokenizer, context, evaluation.stride, layout=evaluation.layout
                )
            except ValueError as e:
                raise UserError(f"evaluation, split {name}: {e}") from e
            splits[name] = windows
            if (floor := _entropy_floor(text, name, windows, evaluation.layout, tokenizer)) is not None:
                floors[name] = floor
        return cls(splits, text.source, text.warning, floors)

    @property
    def fingerprint(self) -> str:
        """A hash of every id and of how they are cut."""
        parts = "|".join(f"{name}={windows.fingerprint()}" for name, windows in self.splits.items())
        return hashlib.blake2b(parts.encode(), digest_size=12).hexdigest()


def _entropy_floor(
    text: EvaluationText, split: str, windows: DocumentWindows, layout: str, tokenizer: Any
) -> float | None:
    """Nats a token that no model can beat, where the corpus knows its probabilities and every token counts."""
    grammar = getattr(text.corpora.get(split), "grammar", None)
    whole = layout == "stream" and tokenizer.bos_token_id is not None and tokenizer.eos_token_id is not None
    return grammar.entropy_floor(text.documents[split], windows.token_count) if grammar is not None and whole else None
