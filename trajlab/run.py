"""One run from a config. Each task is a function of the composed config; ``conf/task`` says which.

`train` trains a language model and streams its trajectory into the run store, `prepare` makes the data ready,
`export` turns a snapshot into a folder for transformers.
"""

import logging
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sized
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, cast

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from trajlab.context import RunCallback, RunContext
from trajlab.data.datamodule import TokenDataModule
from trajlab.data.prepare import PreparedData
from trajlab.data.prepare import prepare as prepare_data
from trajlab.errors import UserError
from trajlab.evaluation import EvaluationEngine
from trajlab.intervals import TokenSchedule
from trajlab.modules.language_model import LanguageModel
from trajlab.nll import position_weights
from trajlab.rng import seed_of
from trajlab.schema import IntervalsConfig, PrepareConfig, TrainConfig, parse
from trajlab.store import RunStore

PACKAGES = ("trajlab", "torch", "lightning", "hydra-core", "tokenizers", "numpy")


class DataFacts(Protocol):
    """What a manifest says of a run's data."""

    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def warning(self) -> str | None: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def unique_tokens(self) -> int: ...  # noqa: D102
    @property
    def splits(self) -> Mapping[str, Sized]: ...  # noqa: D102
    @property
    def entropy_floor(self) -> Mapping[str, float]: ...  # noqa: D102


def run(config: DictConfig) -> None:
    """Do what ``config.task`` names."""
    get_object(config.task._target_)(config)


# ---- task=train


def train(config: DictConfig) -> None:
    """Train one model, or go on where it was interrupted, or say that it is finished."""
    checked = parse(config, TrainConfig)
    store = _store(config, checked)
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    with store.lock():
        if checked.overwrite:
            store.clear()
        if (status := store.status(plain)) == "finished":
            say(f"{store.folder}: finished already, skipped (overwrite=true runs it again)")
            return
        with open_dict(config):
            config.run_dir = str(store.folder)
        _train(config, checked, store, plain, resume=status == "resume")


def _train(config: DictConfig, checked: TrainConfig, store: RunStore, plain: dict[str, Any], *, resume: bool) -> None:
    threads = checked.trainer.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    schedule = token_schedule(checked.intervals, checked.tokens_per_step)
    data = prepare_data(checked.data, checked.tokenizer, schedule.final_tokens)
    module = build_module(config, checked, data)
    if resume:
        refuse_other_data(store, data)
    entries = manifest_entries(plain, data, module.model, threads)
    store.write_config(OmegaConf.to_yaml(config, resolve=True))
    store.update_manifest(**entries, status="running", started=now())
    _banner(store, data, entries, schedule, checked)

    context = RunContext(store, schedule, EvaluationEngine(data.splits, checked.trainer.evaluation_batch_windows))
    datamodule = TokenDataModule(
        data, checked.seed, checked.data.windows_per_step, random_offset=checked.data.window_offset == "random"
    )
    context.position, context.token_bytes_V = datamodule.interval_position, data.token_bytes_V
    context.token_texts = lambda ids: [data.tokenizer.id_to_token(int(i)) or "" for i in ids]
    trainer = build_trainer(config, checked, schedule, context)
    context.engine.precision = trainer.precision_plugin.forward_context
    checkpoint = _checkpoint(store, schedule) if resume else None
    torch.manual_seed(seed_of("dropout", checked.seed))
    started = time.perf_counter()
    trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=False)
    if trainer.global_step < schedule.final_step:
        raise SystemExit(
            f"{store.folder}: interrupted at step {trainer.global_step}; the same command goes on from there"
        )
    store.update_manifest(status="finished", finished=now())
    say(f"{store.folder}: finished in {time.perf_counter() - started:,.0f} s")


def _store(config: DictConfig, checked: TrainConfig) -> RunStore:
    name = run_name(config, checked.run_keys)
    return RunStore(Path(checked.runs_dir) / checked.name / name, checked.name, name, checked.seed)


def run_name(config: DictConfig, keys: list[str]) -> str:
    """``seed=0`` and whatever else was swept, e.g. ``seed=0,optimizer.lr=0.003``."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    values = {key: choices.get(key, OmegaConf.select(config, key)) for key in keys}
    return ",".join(f"{key}={value}" for key, value in values.items()).replace("/", "-")


def token_schedule(config: IntervalsConfig, tokens_per_step: int) -> TokenSchedule:
    """The marks that the configuration asks for."""
    if config.marks is not None:
        if config.marks[-1:] != [config.budget_tokens]:
            raise UserError(f"intervals.marks must end at intervals.budget_tokens={config.budget_tokens:,}")
        return TokenSchedule(config.marks, tokens_per_step)
    if config.geometric is not None:
        return TokenSchedule.geometric(config.budget_tokens, **config.geometric, tokens_per_step=tokens_per_step)
    assert config.every_tokens is not None
    return TokenSchedule.evenly(config.budget_tokens, config.every_tokens, tokens_per_step)


def build_module(config: DictConfig, checked: TrainConfig, data: PreparedData) -> LanguageModel:
    """The model, initialised from the run's ``init`` generator, and how it is trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("init", checked.seed))
        model = build(config.model, "model")
    if (entries := data.tokenizer.get_vocab_size()) > model.vocab_size:
        raise UserError(
            f"the tokenizer has {entries:,} entries, model.vocab_size={model.vocab_size:,}; "
            "a model needs an entry for each token: raise model.vocab_size or lower tokenizer.vocab_size"
        )
    return LanguageModel(
        model, build(config.optimizer, "optimizer"), build(config.schedule, "schedule"), checked.tokens_per_step,
        micro_batch_windows=checked.trainer.micro_batch_windows, gradient_clip=checked.trainer.gradient_clip,
        compile=checked.trainer.compile,
        position_weights_T=position_weights(
            checked.data.context, checked.loss.position_weighting, checked.loss.position_factor
        ),
    )  # fmt: skip


def build_trainer(config: DictConfig, checked: TrainConfig, schedule: TokenSchedule, context: RunContext) -> L.Trainer:
    """Lightning's trainer with the run's callbacks bound, in the order that they ask for."""
    callbacks = [build(node, f"callbacks.{name}") for name, node in config.callbacks.items() if node]
    for callback in callbacks:
        if isinstance(callback, RunCallback):
            callback.bind(context)
    callbacks.sort(key=lambda c: getattr(c, "order", 0))
    loggers = [build(node, f"logger.{name}") for name, node in config.logger.items() if node]
    _quiet_lightning()
    t = checked.trainer
    return L.Trainer(
        accelerator=t.accelerator, devices=t.devices, strategy=t.strategy, precision=t.precision,  # type: ignore[arg-type]
        max_steps=schedule.final_step, max_epochs=-1, callbacks=callbacks, logger=loggers or False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, num_sanity_val_steps=0, log_every_n_steps=1,
    )  # fmt: skip


def build(node: DictConfig, key: str) -> Any:
    """Instantiate a node; a target that refuses its values is a problem with the configuration."""
    try:
        return instantiate(
            node, _convert_="all"
        )  # plain lists and dicts: a config node would turn dataclasses into nodes
    except InstantiationException as e:
        cause = e.__cause__
        if isinstance(cause, (ValueError, TypeError, ModuleNotFoundError)):
            raise UserError(f"{key} ({node.get('_target_')}): {cause}") from e
        raise


def _checkpoint(store: RunStore, schedule: TokenSchedule) -> Path | None:
    """The checkpoint to resume from, after removing what lies beyond it; None where the run starts anew."""
    if not store.checkpoint.exists():
        store.rewind(-1, -1)
        return None
    try:
        step = torch.load(store.checkpoint, map_location="cpu", weights_only=False, mmap=True)["global_step"]
    except Exception as e:
        raise UserError(
            f"{store.checkpoint} can't be read ({type(e).__name__}); remove it to start the run again, or write overwrite=true"
        ) from e
    last = max(i for i, mark in enumerate(schedule.steps) if mark <= step)
    store.rewind(last, step * schedule.tokens_per_step)
    say(f"{store.folder}: resumes at {step * schedule.tokens_per_step:,} tokens")
    return store.checkpoint


def refuse_other_data(store: RunStore, data: DataFacts) -> None:
    """Raise UserError where a stored run was begun on other data."""
    stored = (store.manifest() or {})["data"]
    if stored["fingerprint"] != data.fingerprint:
        raise UserError(
            f"{store.folder} was begun on other data ({stored['source']}, {stored['fingerprint']}) than are here now "
            f"({data.source}, {data.fingerprint}); bring them back or write overwrite=true"
        )


def manifest_entries(plain: dict[str, Any], data: DataFacts, model: nn.Module, threads: int) -> dict[str, Any]:
    """What is stored about a run beside its tables: configuration, data, size, versions, machine."""
    return {
        "config": plain,
        "data": {
            "source": data.source, "warning": data.warning, "fingerprint": data.fingerprint,
            "unique_tokens": data.unique_tokens, "windows": {name: len(w) for name, w in data.splits.items()},
            "entropy_floor": dict(data.entropy_floor),
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "git_commit": _git_commit(),
        "threads": threads,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }  # fmt: skip


def _banner(
    store: RunStore, data: PreparedData, entries: dict[str, Any], schedule: TokenSchedule, c: TrainConfig
) -> None:
    if data.warning:
        rule = "!" * 78
        say(f"{rule}\n! {data.warning}\n{rule}")
    floor = "".join(f", entropy floor {v:.4f} nats ({k})" for k, v in data.entropy_floor.items())
    say(
        f"{store.folder}: {entries['parameters']:,} parameters on {data.source} [{data.fingerprint}]{floor}\n"
        f"  {schedule.final_tokens:,} tokens in {schedule.final_step:,} steps of {schedule.tokens_per_step:,}, "
        f"{data.unique_tokens:,} of them unique; {len(schedule)} intervals; {entries['threads']} threads, {c.trainer.precision}"
    )


# ---- task=prepare


def prepare(config: DictConfig) -> None:
    """Fetch, tokenise and pack what a run of this configuration needs, and say where it came from."""
    checked = parse(config, PrepareConfig)
    data = prepare_data(checked.data, checked.tokenizer, checked.intervals.budget_tokens)
    if data.warning:
        say(f"warning: {data.warning}")
    say(
        f"{data.source} [{data.fingerprint}]: {data.unique_tokens:,} training tokens, {data.tokenizer.get_vocab_size():,} entries"
    )
    for name, windows in data.splits.items():
        floor = data.entropy_floor.get(name)
        say(
            f"  {name}: {len(windows):,} windows of {windows.context}"
            + (f", entropy floor {floor:.4f} nats" if floor else "")
        )


# ---- shared


def say(text: str) -> None:
    """Tell the person at the terminal; the first process alone."""
    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0:
        print(text, file=sys.stderr, flush=True)


def _quiet_lightning() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")


def now() -> str:
    """The time, for manifests."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except Exception:
        return None


def _git_commit() -> str | None:
    """The commit of the checkout that runs, with ``+`` where it has changes; None from an installed package."""
    here = Path(__file__).resolve().parent
    git = ["git", "-C", str(here)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run(
            [*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes.strip() else "")
