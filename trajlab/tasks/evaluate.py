"""``task=evaluate``: a series of checkpoints goes through the evaluation engine like the intervals of a training run.

Every checkpoint is brought, hashed, scored by the same consumers as a run's intervals, and measured on whatever else
is asked for (`trajlab.measures.visit`). A second start skips the checkpoints that have a row in table `checkpoints` and
does the others again from their beginning.
"""

import os
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf

from trajlab.averaging import Averager
from trajlab.averaging.over_series import SeriesAverages, needed
from trajlab.checkpoints.sources import Checkpoint, CheckpointSeries, on_disk, prefetched
from trajlab.config.build import build
from trajlab.config.parse import parse
from trajlab.config.schema import CheckpointModelConfig, EvaluateConfig, TrainerConfig
from trajlab.data.documents import LAYOUTS, EvaluationText
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
    checked = parse(config, EvaluateConfig)
    _check(checked)
    folder = Path(checked.runs_dir) / checked.name / checked.model.name
    store = RunStore(folder, checked.name, checked.model.name, None)
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    with store.lock(), on_disk(str(store.folder)):
        if checked.overwrite:
            store.clear()
        if store.status(plain) == "finished":
            say(f"{store.folder}: finished already, skipped (overwrite=true evaluates it again)")
            return
        _evaluate(config, checked, store, plain)


def _evaluate(config: DictConfig, checked: EvaluateConfig, store: RunStore, plain: dict[str, Any]) -> None:
    threads = checked.trainer.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    series: CheckpointSeries = build(config.model.series, "model.series")
    checkpoints = series.checkpoints()
    done = _done(store, checkpoints)
    averagers = [build(node, f"averaging.{name}") for name, node in config.averaging.items() if node]
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
                job = _begin(config, checked, store, plain, threads, text, checkpoints, averagers, folder)
            place = None if checkpoint.index in done else f"{checkpoint.index + 1} of {len(checkpoints)}"
            job.visit(checkpoint, folder, place)
    store.update_manifest(status="finished", finished=now(), series=series.name, duplicates=duplicates(store))


def _check(checked: EvaluateConfig) -> None:
    model, evaluation, task = checked.model, checked.evaluation, checked.task
    if model.remote_code not in (None, model.name):
        raise UserError(
            f"model.remote_code={model.remote_code!r} must be {model.name!r}, the model whose code may run, or null"
        )
    if evaluation.layout not in LAYOUTS:
        raise UserError(f"evaluation.layout={evaluation.layout!r} must be one of {', '.join(LAYOUTS)}")
    if evaluation.stride and evaluation.context and evaluation.stride > evaluation.context:
        raise UserError(
            f"evaluation.stride={evaluation.stride} is more than evaluation.context={evaluation.context}: tokens would be left out"
        )
    if task.backend not in BACKENDS:
        raise UserError(f"task.backend={task.backend!r} must be one of {', '.join(BACKENDS)}")


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
    config: DictConfig, checked: EvaluateConfig, store: RunStore, plain: dict[str, Any], threads: int,
    text: EvaluationText, checkpoints: Sequence[Checkpoint],
    averagers: Sequence[Averager], folder: Path,
) -> CheckpointVisit:  # fmt: skip
    """What all checkpoints share, from the first one's folder: tokenizer, windows, consumers, measures."""
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
    members = build_members(config.callbacks, context)
    measures = _measures(config, checked)
    for measure in measures:
        measure.prepare(text, tokenizer)
    if store.manifest() is not None:
        refuse_other_data(store, data)
    store.write_config(OmegaConf.to_yaml(config, resolve=True))
    entries = manifest_entries(plain, data, model.lm, threads)
    entries["averagers"] = [a.facts(None) for a in averagers]
    store.update_manifest(**entries, status="running", started=now())
    open_model = partial(_open, checked.model, checked.trainer, tokenizer)
    return CheckpointVisit(store, open_model, context, members, measures, SeriesAverages(averagers, checkpoints))


def _measures(config: DictConfig, checked: EvaluateConfig) -> list[CheckpointMeasure]:
    found = [build(node, f"measures.{name}") for name, node in config.measures.items() if node]
    task = checked.task
    if task.tasks:
        found.append(BACKENDS[task.backend](list(task.tasks), shots=task.shots, limit=task.limit))
    return found


def _open(model: CheckpointModelConfig, trainer: TrainerConfig, tokenizer: Any, folder: Path) -> CheckpointModel:
    device = "cuda" if trainer.accelerator == "auto" and torch.cuda.is_available() else "cpu"
    return CheckpointModel.open(
        folder, tokenizer, dtype=model.dtype, device=DEVICES.get(trainer.accelerator, device),
        device_map=model.device_map, remote_code=model.remote_code is not None, model_class=model.model_class,
    )  # fmt: skip
