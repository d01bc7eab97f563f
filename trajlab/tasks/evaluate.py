"""``task=evaluate``: a series of checkpoints goes through the evaluation engine like the intervals of a training run.

Every checkpoint is brought, hashed, scored by the same consumers as a run's intervals, and measured on whatever else
is asked for (`trajlab.measures.visit`). A second start skips the checkpoints that have a row in table `checkpoints` and
does the others again from their beginning.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from trajlab.averaging import Averager
from trajlab.averaging.over_series import SeriesAverages, needed
from trajlab.checkpoints.sources import Checkpoint, CheckpointSeries, on_disk, prefetched
from trajlab.config import trial
from trajlab.config.build import build
from trajlab.config.parse import Configured, configured, refusals
from trajlab.config.schema import CheckpointModelConfig, EvaluateConfig, TrainerConfig
from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel, open_tokenizer
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import Marks
from trajlab.evaluation.members import build_members
from trajlab.evaluation.series_text import SeriesText
from trajlab.measures.lm_eval import HarnessTasks
from trajlab.measures.multiple_choice import MultipleChoice
from trajlab.measures.visit import CheckpointMeasure, CheckpointVisit, done_rows, duplicates
from trajlab.store.manifest import manifest_entries, now, refuse_other_data
from trajlab.store.run_store import RunStore
from trajlab.terminal import say

BACKENDS = {"bigbench": MultipleChoice, "lm_eval": HarnessTasks}

DEVICES = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda", "mps": "mps"}


def evaluate(config: DictConfig) -> None:
    """Evaluate the checkpoints of a series that are not evaluated yet."""
    asked = configured(config, EvaluateConfig, _problems(config))
    checked = asked.checked
    store = RunStore.below(checked.runs_dir, checked.name, checked.model.name, None)
    with store.lock(), on_disk(str(store.folder)):
        if store.begin(asked.plain, overwrite=checked.overwrite) == "finished":
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
    wanted = needed(checkpoints, done, averagers)
    todo = [c for c in checkpoints if c.index not in done]
    say(f"{store.folder}: {len(checkpoints)} checkpoints of {series.name}, {len(todo)} to evaluate")
    text = EvaluationText.of(checked.data, checked.evaluation.documents)
    if text.warning:
        say(f"warning: {text.warning}")
    job: CheckpointVisit | None = None
    with closing(prefetched(series, wanted)) as coming:
        for checkpoint, folder in coming:
            if job is None:
                job = _begin(asked, store, threads, text, checkpoints, averagers, folder)
            place = None if checkpoint.index in done else f"{checkpoint.index + 1} of {len(checkpoints)}"
            job.visit(checkpoint, folder, place)
    store.update_manifest(status="finished", finished=now(), series=series.name, duplicates=duplicates(store))


def _done(store: RunStore, checkpoints: Sequence[Checkpoint]) -> set[int]:
    """Indices of the checkpoints that have a row. Raises UserError where a stored one is another than the listed one."""
    done = {r["interval"]: (r["step"], r["revision"]) for r in done_rows(store)}
    listed = {c.index: (c.step, c.revision) for c in checkpoints}
    for index, stored in done.items():
        if listed.get(index) != stored:
            raise UserError(
                f"{store.folder}: checkpoint {index} was {stored[1]!r} before and is {listed.get(index, (0, None))[1]!r} "
                "now; name the steps (model.series.steps), or write overwrite=true"
            )
    return set(done)


def _begin(
    asked: Configured[EvaluateConfig], store: RunStore, threads: int, text: EvaluationText,
    checkpoints: Sequence[Checkpoint], averagers: Sequence[Averager], folder: Path,
) -> CheckpointVisit:  # fmt: skip
    """What all checkpoints share, from the first one's folder: tokenizer, windows, consumers, measures."""
    checked = asked.checked
    remote = checked.model.remote_code is not None
    tokenizer = open_tokenizer(checked.model.tokenizer or folder, remote_code=remote)
    model = _open(checked.model, checked.trainer, tokenizer, folder)
    data = SeriesText.of(text, checked.evaluation, tokenizer, model.context(checked.evaluation.context))
    context = RunContext(
        store,
        Marks([c.tokens for c in checkpoints], 1),
        EvaluationEngine(data.splits, checked.trainer.evaluation_batch_windows),
        split_bytes={name: w.byte_count for name, w in data.splits.items()},
        token_texts=lambda ids: list(tokenizer.convert_ids_to_tokens(ids.tolist())),
    )
    members = build_members(asked.config.callbacks, context)
    measures = _measures(asked)
    for measure in measures:
        measure.prepare(text, tokenizer)
    if store.manifest() is not None:
        refuse_other_data(store, data)
    entries = manifest_entries(asked.plain, data, model.lm, threads)
    entries["averagers"] = [a.facts(None) for a in averagers]
    store.update_manifest(**entries, status="running", started=now())
    store.write_config(asked.yaml)
    open_model = partial(_open, checked.model, checked.trainer, tokenizer)
    return CheckpointVisit(store, open_model, context, members, measures, SeriesAverages(averagers, checkpoints))


def _measures(asked: Configured[EvaluateConfig]) -> list[CheckpointMeasure]:
    found = list(asked.build_all("measures").values())
    benchmark = asked.checked.benchmark
    if benchmark.tasks:
        found.append(BACKENDS[benchmark.backend](list(benchmark.tasks), shots=benchmark.shots, limit=benchmark.limit))
    return found


def _open(model: CheckpointModelConfig, trainer: TrainerConfig, tokenizer: Any, folder: Path) -> CheckpointModel:
    device = "cuda" if trainer.accelerator == "auto" and torch.cuda.is_available() else "cpu"
    return CheckpointModel.open(
        folder, tokenizer, dtype=model.dtype, device=DEVICES.get(trainer.accelerator, device),
        device_map=model.device_map, remote_code=model.remote_code is not None, model_class=model.model_class,
    )  # fmt: skip
