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
from trajlab.averaging.over_series import SeriesAverages
from trajlab.checkpoints.sources import Checkpoint, CheckpointSeries, Tidied, on_disk, prefetched
from trajlab.config import trial
from trajlab.config.build import build
from trajlab.config.groups import TrainerConfig
from trajlab.config.parse import Configured, configured, refusals
from trajlab.config.schema import BIGBENCH_SHOTS, BenchmarkConfig, CheckpointModelConfig, EvaluateConfig
from trajlab.cores import free_cores
from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel, open_tokenizer
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import Marks
from trajlab.evaluation.members import build_members, member_problems
from trajlab.evaluation.series_text import OtherData, SeriesText, context_warnings
from trajlab.measures.claims import Claims
from trajlab.measures.items import TaskItems
from trajlab.measures.lm_eval import HarnessTasks
from trajlab.measures.multiple_choice import MultipleChoice, task_files
from trajlab.measures.progress import Progress, comparable, done_rows, groups_by_hash, settle_duplicates, union
from trajlab.measures.visit import LOSSES, CheckpointMeasure, CheckpointVisit, fitting_model
from trajlab.store.compaction import expand
from trajlab.store.lease import LostLease
from trajlab.store.manifest import manifest_entries, now, siblings
from trajlab.store.renumber import finish_renumbering
from trajlab.store.run_store import RunStore
from trajlab.store.workers import Workers
from trajlab.tasks.audit import cheap_faults
from trajlab.terminal import say, to_see

DEVICES = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda", "mps": "mps"}


def evaluate(config: DictConfig) -> None:
    """Measure what the checkpoints of a series lack, beside whatever other processes do the same."""
    asked = configured(config, EvaluateConfig, _problems(config))
    checked = asked.checked
    store = RunStore.below(checked.runs_dir, checked.name, checked.model.name, None)
    workers = Workers(store.folder, checked.lease_seconds)
    with on_disk(str(store.folder)), workers.joined():
        _evaluate(asked, store, workers)


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


def _evaluate(asked: Configured[EvaluateConfig], store: RunStore, workers: Workers) -> None:
    checked = asked.checked
    threads = checked.trainer.threads or free_cores()
    torch.set_num_threads(threads)
    series: CheckpointSeries = asked.build("model.series")
    averagers = list(asked.build_all("averaging").values())
    measures = _measures(asked)
    names = [*(f"{LOSSES}{split}" for split in checked.data.validation), *measures]
    with workers.turn(store):
        progress, checkpoints, status = _join(asked, store, workers, series, names, bool(averagers))
    todo = {c.index for c in checkpoints if progress.todo(c, names)}
    if status == "finished" and not todo:
        say(f"{store.folder}: finished already, skipped (overwrite=true evaluates it again)")
        _tidy(series)
        with workers.turn(store):
            return workers.leave()
    say(f"{store.folder}: {len(checkpoints)} checkpoints of {series.name}, {len(todo)} to evaluate")
    if todo:
        _warn_of_faults(series)
    text = EvaluationText.of(checked.data, checked.evaluation.documents)
    if text.warning:
        say(f"warning: {text.warning}")
    begin = partial(_begin, asked, store, workers, progress, threads, text, checkpoints, averagers, measures)
    claims = Claims(workers, checkpoints, todo, partial(_is_done, progress, names), averagers)
    _visit_all(series, checkpoints, claims, workers, begin, averagers, skip_broken=checked.skip_broken)
    with workers.turn(store):
        _finish(store, workers, series)
        workers.leave()


def _join(
    asked: Configured[EvaluateConfig],
    store: RunStore,
    workers: Workers,
    series: CheckpointSeries,
    names: Sequence[str],
    averaged: bool,
) -> tuple[Progress, list[Checkpoint], str]:
    """Become one of those at work: what is stored, the checkpoints by their numbers there, and the run's state."""
    checked = asked.checked
    if checked.overwrite and (others := workers.others(certain=True)):
        raise UserError(
            f"{store.folder}: {others[0]} evaluates this series; wait for its end before overwrite=true, or leave overwrite "
            "out to work beside it"
        )
    finish_renumbering(store.folder)
    stored = {} if checked.overwrite else (store.manifest() or {}).get("config") or {}
    status = store.begin(comparable(asked.plain, stored), overwrite=checked.overwrite)
    progress, listed = Progress(store), series.checkpoints()
    if progress.lacking(listed, names):
        expand(store.folder)
    alone = not workers.others()
    if not alone and progress.moved(listed, workers.plan().numbers):
        if others := workers.others(certain=True):
            raise UserError(
                f"{store.folder}: {others[0]} evaluates this series, and some of these checkpoints lie between its own; "
                "start this again after its end"
            )
        alone = True
    planned = {} if alone else workers.plan().numbers
    only_at_the_end = averaged and bool(progress.described)
    checkpoints = progress.placed(listed, only_at_the_end=only_at_the_end, planned=planned)
    workers.enter()
    workers.agree({(c.step, c.revision): c.index for c in checkpoints}, names, alone=alone)
    return progress, checkpoints, status


def _is_done(progress: Progress, names: Sequence[str], checkpoint: Checkpoint) -> bool:
    progress.reread(checkpoint)
    return not progress.todo(checkpoint, names)


def _visit_all(
    series: CheckpointSeries,
    checkpoints: Sequence[Checkpoint],
    claims: Claims,
    workers: Workers,
    begin: Callable[[Path], CheckpointVisit],
    averagers: Sequence[Averager],
    *,
    skip_broken: bool,
) -> None:
    """Measure one checkpoint after the other, as long as there is one that nobody has."""
    skip = partial(_left_out, workers, claims) if skip_broken else None
    job: CheckpointVisit | None = None
    with closing(prefetched(series, claims, skip)) as coming:
        for wanted, folder in coming:
            checkpoint = wanted.checkpoint
            place = f"{checkpoints.index(checkpoint) + 1} of {len(checkpoints)}" if wanted.measured else None
            try:
                job = job or begin(folder)
                if wanted.afresh:
                    job.averages = SeriesAverages(averagers, checkpoints)
                job.visit(checkpoint, folder, place)
            except LostLease as e:
                say(f"warning: {checkpoint.revision} is left to another process: {e}")
                claims.ended(checkpoint, left=True)
                continue
            except UserError as e:
                if skip is None or isinstance(e, OtherData):
                    raise
                skip(checkpoint, e)
            if wanted.measured:
                claims.ended(checkpoint)


def _finish(store: RunStore, workers: Workers, series: CheckpointSeries) -> None:
    """Declare the series finished where all that it was asked for is done, by whomever; else the others will."""
    progress, plan, broken = Progress(store), workers.plan(), workers.broken()
    if not progress.described:
        why = f"; the last one: {broken[-1]['why']}" if broken else ""
        raise UserError(f"{store.folder}: no checkpoint could be opened{why}")
    left_out = {(b["step"], b["revision"]) for b in broken}
    placed = [Checkpoint(i, step, 0, r) for (step, r), i in plan.numbers.items() if (step, r) not in left_out]
    missing = [c for c in placed if progress.todo(c, plan.measures)]
    if missing and (others := workers.others(certain=True)):
        say(f"{store.folder}: {len(missing)} checkpoints are left to {', '.join(others)}")
        return
    settle_duplicates(store)
    duplicates = groups_by_hash(done_rows(store))
    _tidy(series)
    store.update_manifest(status="finished", finished=now(), series=series.name, duplicates=duplicates, broken=broken)
    say(to_see(store.folder.parent))


def _tidy(series: CheckpointSeries) -> None:
    """A process that was killed after it had measured a checkpoint left it on the disk: nobody fetches it again."""
    if isinstance(series, Tidied):
        series.tidy()


def _warn_of_faults(series: CheckpointSeries) -> None:
    """The cheap part of ``task=audit``; where the source can't be asked, nothing is said."""
    try:
        faults = cheap_faults(series)
    except UserError:
        return
    for fault in faults:
        say(f"warning: {fault} [task=audit looks closer]")


def _left_out(workers: Workers, claims: Claims, checkpoint: Checkpoint, error: UserError) -> None:
    """Go on without a checkpoint; the manifest and the report name it."""
    say(f"warning: {checkpoint.revision} is left out (skip_broken): {error}")
    workers.note_broken(checkpoint.step, checkpoint.revision, str(error))
    claims.ended(checkpoint)


def _begin(
    asked: Configured[EvaluateConfig],
    store: RunStore,
    workers: Workers,
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
    for words in context_warnings(data.context, siblings(store)):
        say(f"warning: {words}")
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
    with workers.turn(store):
        _write_manifest(asked, store, data, model, threads, averagers, beside=bool(workers.others()))
    same_ids = partial(data.cut_alike, tokenizer, named=checked.model.tokenizer is not None, remote_code=remote)
    longest = max(w.context for w in data.splits.values())
    largest = max(w.largest_id for w in data.splits.values())
    open_model = fitting_model(partial(_open, checked.model, checked.trainer, tokenizer), same_ids, longest, largest)
    averages = SeriesAverages(averagers, checkpoints)
    confirm = partial(_confirm, workers)
    return CheckpointVisit(store, progress, open_model, context, members, measures, averages, confirm)


def _confirm(workers: Workers, checkpoint: Checkpoint) -> None:
    workers.confirm(checkpoint.step, checkpoint.revision)


def _write_manifest(
    asked: Configured[EvaluateConfig],
    store: RunStore,
    data: SeriesText,
    model: CheckpointModel,
    threads: int,
    averagers: Sequence[Averager],
    *,
    beside: bool,
) -> None:
    """What is known of the series; of one that grows, what was asked before and what is asked now.

    Another process may have written it since this one looked; where it was asked for something else, UserError is raised.
    """
    stored = store.manifest() or {}
    store.status(comparable(asked.plain, stored.get("config") or {}))
    entries = manifest_entries(union(asked.plain, stored.get("config", {})), data, model.lm, threads)
    entries["data"] = data.joined_facts(entries["data"], stored.get("data"), str(store.folder))
    entries["averagers"] = [a.facts(None) for a in averagers]
    started = stored.get("started") if beside else None
    store.update_manifest(**entries, status="running", started=started or now())
    store.write_config(asked.yaml)


def _measures(asked: Configured[EvaluateConfig]) -> dict[str, CheckpointMeasure]:
    """What is measured beside token losses, by the names of table `measured`: each task, and its questions, by itself."""
    found: dict[str, CheckpointMeasure] = {f"measure:{n}": m for n, m in asked.build_all("measures").items()}
    benchmarks = _benchmarks(asked.checked.benchmark)
    found |= {f"task:{name}": benchmark for name, benchmark in benchmarks.items()}
    if asked.checked.benchmark.items:
        found |= {f"items:{name}": TaskItems(benchmark) for name, benchmark in benchmarks.items()}
    return found


def _benchmarks(asked: BenchmarkConfig) -> dict[str, MultipleChoice | HarnessTasks]:
    if asked.tasks and asked.backend == "bigbench":
        shots = BIGBENCH_SHOTS if asked.shots is None else asked.shots
        files = task_files(asked.tasks).items()
        return {name: MultipleChoice([path], shots=shots, limit=asked.limit) for name, path in files}
    return {t: HarnessTasks([t], asked.shots, asked.limit, include=asked.include_path) for t in asked.tasks}


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
