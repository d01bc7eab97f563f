"""``task=evaluate``: a series of checkpoints goes through the evaluation engine like the intervals of a training run.

Every checkpoint is brought, hashed, scored by the same consumers as a run's intervals, and measured on whatever else
is asked for (`trajlab.measures.visit`). A second start does what is missing alone (`trajlab.measures.progress`): a series
grows, takes another task or text, and with ``skip_broken`` goes on without a checkpoint that can't be opened.
"""

from collections.abc import Callable, Mapping, Sequence
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
from trajlab.config.groups import TrainerConfig
from trajlab.config.parse import Configured, configured, refusals
from trajlab.config.schema import BIGBENCH_SHOTS, CheckpointModelConfig, EvaluateConfig
from trajlab.cores import free_cores
from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel, open_tokenizer
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import Marks
from trajlab.evaluation.members import build_members, member_problems
from trajlab.evaluation.series_text import OtherData, SeriesText
from trajlab.measures.lm_eval import HarnessTasks
from trajlab.measures.multiple_choice import MultipleChoice, task_files
from trajlab.measures.progress import Progress, comparable, done_rows, groups_by_hash, union
from trajlab.measures.visit import LOSSES, CheckpointMeasure, CheckpointVisit, fitting_model
from trajlab.store.manifest import manifest_entries, now
from trajlab.store.renumber import finish_renumbering
from trajlab.store.run_store import RunStore
from trajlab.tasks.audit import cheap_faults
from trajlab.terminal import say

DEVICES = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda", "mps": "mps"}


def evaluate(config: DictConfig) -> None:
    """Measure what the checkpoints of a series lack."""
    asked = configured(config, EvaluateConfig, _problems(config))
    checked = asked.checked
    store = RunStore.below(checked.runs_dir, checked.name, checked.model.name, None)
    with store.lock(), on_disk(str(store.folder)):
        finish_renumbering(store.folder)
        stored = {} if checked.overwrite else (store.manifest() or {}).get("config") or {}
        status = store.begin(comparable(asked.plain, stored), overwrite=checked.overwrite)
        _evaluate(asked, store, status == "finished")


def _problems(config: DictConfig) -> Callable[[EvaluateConfig], list[str]]:
    """What is found by trying, before a checkpoint is brought."""

    def check(c: EvaluateConfig) -> list[str]:
        nodes = {"averaging": config.averaging, "measures": config.measures}
        series = refusals(lambda: build(config.model.series, "model.series"))
        devices = trial.device_problems(c.trainer.accelerator, c.trainer.precision)
        members = member_problems(config.callbacks)
        averaged = c.skip_broken and any(config.averaging.values())
        both = ["skip_broken=true leaves holes, which an average over the series can't have; write averaging=none"]
        return [
            *series,
            *devices,
            *members,
            *(both if averaged else []),
            *(p for key, node in nodes.items() for p in trial.nodes_problems(node, key)),
        ]

    return check


def _evaluate(asked: Configured[EvaluateConfig], store: RunStore, finished: bool) -> None:
    checked = asked.checked
    threads = checked.trainer.threads or free_cores()
    torch.set_num_threads(threads)
    series: CheckpointSeries = asked.build("model.series")
    averagers = list(asked.build_all("averaging").values())
    measures = _measures(asked)
    progress = Progress(store)
    checkpoints = progress.placed(series.checkpoints(), only_at_the_end=bool(averagers and progress.described))
    names = [*(f"{LOSSES}{split}" for split in checked.data.validation), *measures]
    todo = {c.index for c in checkpoints if progress.todo(c, names)}
    if finished and not todo:
        say(f"{store.folder}: finished already, skipped (overwrite=true evaluates it again)")
        return
    done = {c.index for c in checkpoints} - todo
    say(f"{store.folder}: {len(checkpoints)} checkpoints of {series.name}, {len(todo)} to evaluate")
    _warn_of_faults(series)
    text = EvaluationText.of(checked.data, checked.evaluation.documents)
    if text.warning:
        say(f"warning: {text.warning}")
    broken: list[dict[str, Any]] = []
    job: CheckpointVisit | None = None
    skip = partial(_left_out, broken) if checked.skip_broken else None
    with closing(prefetched(series, needed(checkpoints, done, averagers), skip)) as coming:
        for checkpoint, folder in coming:
            place = f"{checkpoints.index(checkpoint) + 1} of {len(checkpoints)}" if checkpoint.index in todo else None
            try:
                if job is None:
                    job = _begin(asked, store, progress, threads, text, checkpoints, averagers, measures, folder)
                job.visit(checkpoint, folder, place)
            except UserError as e:
                if skip is None or isinstance(e, OtherData):
                    raise
                skip(checkpoint, e)
    if job is None:
        raise UserError(f"{store.folder}: no checkpoint could be opened; the last one: {broken[-1]['why']}")
    store.update_manifest(
        status="finished",
        finished=now(),
        series=series.name,
        duplicates=groups_by_hash(done_rows(store)),
        broken=broken,
    )


def _warn_of_faults(series: CheckpointSeries) -> None:
    """The cheap part of ``task=audit``; where the source can't be asked, nothing is said."""
    try:
        faults = cheap_faults(series)
    except UserError:
        return
    for fault in faults:
        say(f"warning: {fault} [task=audit looks closer]")


def _left_out(broken: list[dict[str, Any]], checkpoint: Checkpoint, error: UserError) -> None:
    """Go on without a checkpoint; the manifest and the report name it."""
    say(f"warning: {checkpoint.revision} is left out (skip_broken): {error}")
    broken.append({"revision": checkpoint.revision, "step": checkpoint.step, "why": str(error)})


def _begin(
    asked: Configured[EvaluateConfig],
    store: RunStore,
    progress: Progress,
    threads: int,
    text: EvaluationText,
    checkpoints: Sequence[Checkpoint],
    averagers: Sequence[Averager],
    measures: Mapping[str, CheckpointMeasure],
    folder: Path,
) -> CheckpointVisit:
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
    for measure in measures.values():
        measure.prepare(text, tokenizer)
    _write_manifest(asked, store, data, model, threads, averagers)
    same_ids = partial(data.cut_alike, tokenizer, named=checked.model.tokenizer is not None, remote_code=remote)
    longest = max(w.context for w in data.splits.values())
    largest = max(w.largest_id for w in data.splits.values())
    open_model = fitting_model(partial(_open, checked.model, checked.trainer, tokenizer), same_ids, longest, largest)
    averages = SeriesAverages(averagers, checkpoints)
    return CheckpointVisit(store, progress, open_model, context, members, measures, averages)


def _write_manifest(
    asked: Configured[EvaluateConfig],
    store: RunStore,
    data: SeriesText,
    model: CheckpointModel,
    threads: int,
    averagers: Sequence[Averager],
) -> None:
    """What is known of the series; of one that grows, what was asked before and what is asked now."""
    stored = store.manifest() or {}
    entries = manifest_entries(union(asked.plain, stored.get("config", {})), data, model.lm, threads)
    entries["data"] = data.joined_facts(entries["data"], stored.get("data"), str(store.folder))
    entries["averagers"] = [a.facts(None) for a in averagers]
    store.update_manifest(**entries, status="running", started=now())
    store.write_config(asked.yaml)


def _measures(asked: Configured[EvaluateConfig]) -> dict[str, CheckpointMeasure]:
    """What is measured beside token losses, by the names of table `measured`: each task by itself."""
    found: dict[str, CheckpointMeasure] = {f"measure:{n}": m for n, m in asked.build_all("measures").items()}
    benchmark = asked.checked.benchmark
    if benchmark.tasks and benchmark.backend == "bigbench":
        shots = BIGBENCH_SHOTS if benchmark.shots is None else benchmark.shots
        for name, path in task_files(benchmark.tasks).items():
            found[f"task:{name}"] = MultipleChoice([path], shots=shots, limit=benchmark.limit)
    elif benchmark.tasks:
        for task in benchmark.tasks:
            found[f"task:{task}"] = HarnessTasks(
                [task], benchmark.shots, benchmark.limit, include=benchmark.include_path
            )
    return found


def _open(model: CheckpointModelConfig, trainer: TrainerConfig, tokenizer: Any, folder: Path) -> CheckpointModel:
    device = "cuda" if trainer.accelerator == "auto" and torch.cuda.is_available() else "cpu"
    return CheckpointModel.open(
        folder,
        tokenizer,
        dtype=model.dtype,
        device=DEVICES.get(trainer.accelerator, device),
        device_map=model.device_map,
        remote_code=model.remote_code is not None,
        model_class=model.model_class,
    )
