"""``task=train``: a language model is trained and its trajectory streamed into the run store."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from trajlab import interruption
from trajlab.checkpoints.resume import newest_usable
from trajlab.config import trial
from trajlab.config.build import build
from trajlab.config.launch import in_sweep, jobs_side_by_side
from trajlab.config.parse import Configured, configured, refusals
from trajlab.config.schema import TrainConfig
from trajlab.cores import free_cores, usable_cores
from trajlab.data import tokenizer
from trajlab.data.datamodule import TokenDataModule
from trajlab.data.prepare import PreparedData
from trajlab.data.prepare import prepare as prepare_data
from trajlab.errors import UserError
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import TokenSchedule, token_schedule
from trajlab.evaluation.members import member_problems
from trajlab.rng import seed_of
from trajlab.store.followed import FollowedStore
from trajlab.store.manifest import manifest_entries, now, refuse_other_data
from trajlab.store.run_store import RunStore
from trajlab.terminal import say, to_see
from trajlab.training.language_model import LanguageModel
from trajlab.training.loggers import logger_problems
from trajlab.training.stopping import Diverged
from trajlab.training.team import Start, Team, lost_companion
from trajlab.training.trainer import build_module, build_trainer


def train(config: DictConfig) -> None:
    """Train one model, or go on where it was interrupted, or say that it is finished."""
    asked = configured(config, TrainConfig, training_problems(config))
    team = Team.of(asked.checked.trainer.devices)
    team.join(asked.checked.trainer.accelerator)
    try:
        (_lead if team.first else _follow)(asked, team)
    except RuntimeError as e:
        if not lost_companion(e):
            raise
        raise UserError(f"another process of this run is gone; the same command goes on ({e})") from e


def _lead(asked: Configured[TrainConfig], team: Team) -> None:
    """The first process' part: it owns the run's folder, and tells the others where the run begins."""
    config, checked = asked.config, asked.checked
    store = _store(asked, RunStore)
    with store.lock(), team.deciding():
        if (status := store.begin(asked.plain, overwrite=checked.overwrite)) == "finished":
            say(f"{store.folder}: finished already, skipped (overwrite=true runs it again)")
            return
        if status == "resume" and (store.manifest() or {}).get("status") == "diverged":
            say(f"{store.folder}: diverged before, skipped (overwrite=true runs it again)")
            return
        with open_dict(config):
            config.run_dir = str(store.folder)
        _begin(asked, store, team, resume=status == "resume")


def _follow(asked: Configured[TrainConfig], team: Team) -> None:
    """Every other process' part: the same arithmetic on its share of the windows, and nothing written."""
    if (start := team.heard()) is None:
        return
    store = _store(asked, FollowedStore)
    with open_dict(asked.config):
        asked.config.run_dir = str(store.folder)
    job = _job(asked, store, team)
    if job.data.fingerprint != start.data:
        raise UserError(
            f"process {team.rank} has other data ({job.data.fingerprint}) than the first one ({start.data}); give all "
            "machines the same data.source and data.cache_dir"
        )
    _fit(job, start)


def training_problems(config: DictConfig) -> Callable[[TrainConfig], list[str]]:
    """What is found by trying, before a corpus is read: marks, tokenizer, model, optimizer, schedule, callbacks."""

    def check(c: TrainConfig) -> list[str]:
        return [
            *refusals(lambda: token_schedule(c.intervals, c.tokens_per_step)),
            *refusals(lambda: build(config.schedule, "schedule")),
            *tokenizer.problems(c.tokenizer),
            *member_problems(config.callbacks),
            *logger_problems(config.logger),
            *trial.device_problems(c.trainer.accelerator, c.trainer.precision),
            *trial.optimizer_problems(config.optimizer),
            *trial.model_problems(config.model, c.tokenizer.vocab_size),
        ]

    return check


@dataclass(frozen=True)
class _Job:
    """What a process trains, the first or another."""

    asked: Configured[TrainConfig]
    store: RunStore
    team: Team
    threads: int
    schedule: TokenSchedule
    data: PreparedData
    module: LanguageModel


def _job(asked: Configured[TrainConfig], store: RunStore, team: Team) -> _Job:
    checked = asked.checked
    threads = checked.trainer.threads or _threads(store, team)
    torch.set_num_threads(threads)
    schedule = token_schedule(checked.intervals, checked.tokens_per_step)
    data = prepare_data(checked.data, checked.tokenizer, schedule.final_tokens)
    module = build_module(asked.config, checked, data, schedule.final_tokens, store.manifest() or {})
    return _Job(asked, store, team, threads, schedule, data, module)


def _threads(store: RunStore, team: Team) -> int:
    """As many as a resumed run had, so that its sums are the same to the bit; else the cores that are free.

    Jobs and processes that share the machine share its cores: they all begin before any shows in the load.
    """
    sharers = team.here * jobs_side_by_side(cores := usable_cores())
    most, stored = max(1, cores // sharers), (store.manifest() or {}).get("threads")
    if isinstance(stored, int) and 1 <= stored <= most:
        return stored
    return most if sharers > 1 else free_cores()


def _begin(asked: Configured[TrainConfig], store: RunStore, team: Team, *, resume: bool) -> None:
    job = _job(asked, store, team)
    if resume:
        refuse_other_data(store, job.data)
    entries = manifest_entries(asked.plain, job.data, job.module.model, job.threads)
    store.update_manifest(**entries, compiled=job.module.compiled, status="running", started=now())
    store.write_config(asked.yaml)
    _banner(job, entries["parameters"])
    checkpoint = _checkpoint(store, job.schedule, job.module) if resume else None
    start = Start(job.data.fingerprint, None if checkpoint is None else str(checkpoint))
    team.tell(start)
    _fit(job, start)


def _fit(job: _Job, start: Start) -> None:
    """Train from where the first process says, and note how it ended."""
    checked, store, data, schedule = job.asked.checked, job.store, job.data, job.schedule
    datamodule = TokenDataModule(
        data,
        checked.seed_for("order"),
        checked.data.windows_per_step,
        random_offset=checked.data.window_offset == "random",
    )
    context = RunContext(
        store,
        schedule,
        EvaluationEngine(data.splits, checked.trainer.evaluation_batch_windows),
        datamodule.interval_position,
        data.token_bytes_V,
        dict(data.split_bytes),
        token_texts=lambda ids: [data.tokenizer.id_to_token(int(i)) or "" for i in ids],
    )
    trainer = build_trainer(job.asked.config, checked, schedule, context, job.team)
    torch.manual_seed(seed_of("dropout", checked.seed_for("dropout")) + job.team.rank)
    started = time.perf_counter()
    try:
        with interruption.saving_first(), job.team.launching(job.threads):
            trainer.fit(job.module, datamodule, ckpt_path=start.checkpoint, weights_only=True)
    except (interruption.Interrupted, SystemExit):
        # SystemExit is Lightning's answer to a SIGTERM before the first step
        if not job.team.first:  # the first process tells of it; a launcher takes any other status for a crash
            raise SystemExit(0) from None
        say(f"{store.folder}: {_standing(context, trainer.global_step, resumed=start.checkpoint is not None)}")
        interruption.stop_if_asked()
        raise
    except Diverged as e:
        return _note_divergence(store, schedule, e)
    if trainer.global_step < schedule.final_step:
        raise SystemExit(
            f"{store.folder}: interrupted at step {trainer.global_step}; the same command goes on from there"
        )
    store.update_manifest(status="finished", finished=now())
    say(f"{store.folder}: finished in {time.perf_counter() - started:,.0f} s")
    if not in_sweep():  # which tells of all its runs together, at its end
        say(to_see(store.folder.parent))


def _standing(context: RunContext, reached: int, *, resumed: bool) -> str:
    """What of a run that was interrupted after step ``reached`` is kept."""
    if (step := context.latest.saved_step) is not None:
        saved, here = (s * context.schedule.tokens_per_step for s in (step, reached))
        lost = f"; what came after, up to {here:,}, is trained again" if here > saved else ""
        return f"interrupted; saved at {saved:,} tokens{lost}"
    kept = "the state that this start went on from stands" if resumed else "nothing is saved yet, it will begin anew"
    return f"interrupted; {kept}"


def _note_divergence(store: RunStore, schedule: TokenSchedule, e: Diverged) -> None:
    found = {"step": e.step, "train_loss": str(e.train_loss), "grad_norm": str(e.grad_norm)}
    store.update_manifest(status="diverged", finished=now(), diverged=found)
    say(
        f"{store.folder}: DIVERGED at {e.step * schedule.tokens_per_step:,} of {schedule.final_tokens:,} tokens ({e}); its "
        "tables are complete up to there. A lower optimizer.lr may help; trainer.on_nonfinite=skip leaves such updates out"
    )


def _store(asked: Configured[TrainConfig], kind: type[RunStore]) -> RunStore:
    c = asked.checked
    return kind.below(c.runs_dir, c.name, run_name(asked.config, c.run_keys), c.seed)


def run_name(config: DictConfig, keys: list[str]) -> str:
    """``seed=0`` and whatever else was swept, e.g. ``seed=0,optimizer.lr=0.003``."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    values = {key: choices.get(key, OmegaConf.select(config, key)) for key in keys}
    return ",".join(f"{key}={value}" for key, value in values.items()).replace("/", "-")


def _checkpoint(store: RunStore, schedule: TokenSchedule, module: LanguageModel) -> Path | None:
    """The checkpoint to resume from, after removing what lies beyond it; None where the run starts anew."""
    found = newest_usable([store.checkpoint, store.previous_checkpoint], module.state_dict())
    if found is None:
        store.rewind(-1, -1)
        return None
    last = max(i for i, mark in enumerate(schedule.steps) if mark <= found.step)
    store.rewind(last, found.step * schedule.tokens_per_step)
    tokens = found.step * schedule.tokens_per_step
    store.update_manifest(resumed=[*(store.manifest() or {}).get("resumed", []), {"tokens": tokens, "time": now()}])
    say(f"{store.folder}: resumes at {tokens:,} tokens")
    return found.path


def _banner(job: _Job, parameters: int) -> None:
    data, schedule = job.data, job.schedule
    if data.warning:
        rule = "!" * 78
        say(f"{rule}\n! {data.warning}\n{rule}")
    floor = "".join(f", entropy floor {v:.4f} nats ({k})" for k, v in data.entropy_floor.items())
    processes = f"{job.team.size} processes of " if job.team.size > 1 else ""
    say(
        f"{job.store.folder}: {parameters:,} parameters on {data.source} [{data.fingerprint[:8]}]{floor}\n"
        f"  {schedule.final_tokens:,} tokens in {schedule.final_step:,} steps of {schedule.tokens_per_step:,}, "
        f"{data.unique_tokens:,} of them unique; {len(schedule)} intervals; {processes}{job.threads} thread{'s' if job.threads != 1 else ''}, "
        f"{job.asked.checked.trainer.precision}{', compiled' if job.module.compiled else ''}"
    )
