"""``task=average``: averages of the snapshots of stored runs, or of any local series of checkpoints.

The averaged weights go to ``averages/<variant>`` in the run's folder, in the snapshots' own format and with a provenance
record; their losses become further rows of the run's tables, under the variant's name.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from trajlab import averaging
from trajlab.averaging import Averager
from trajlab.averaging.over_files import average_series, read_checkpoint
from trajlab.config.build import build
from trajlab.config.parse import parse, refusals
from trajlab.config.schema import AverageConfig, TrainConfig
from trajlab.data.datamodule import TokenDataModule
from trajlab.data.prepare import prepare
from trajlab.errors import UserError
from trajlab.evaluation.context import RunCallback, RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import token_schedule
from trajlab.protocols import LossConsumer
from trajlab.store.manifest import refuse_other_data
from trajlab.store.run_store import RunStore
from trajlab.terminal import say
from trajlab.training.trainer import build_module


def average(config: DictConfig) -> None:
    """Average every run below ``runs``, or the series that lies there."""
    checked = parse(config, AverageConfig, _problems)
    averager, root = averager_of(checked), Path(checked.runs)
    runs = sorted(m.parent for m in root.rglob("manifest.json"))
    if checked.to and len(runs) > 1:
        raise UserError(
            f"to={checked.to} is one place for {len(runs)} runs; leave it out, each run's folder takes its own"
        )
    for run in runs:
        _average_run(run, averager, checked)
    if not runs:
        series = local_series(root)[:: checked.every]
        _write(series, averager, Path(checked.to or f"{root}-{averager.name}"), checked, {"series": str(root)})


def _problems(c: AverageConfig) -> list[str]:
    known = Path(c.runs).is_dir()
    missing = [] if known else [f"runs={c.runs} is no folder; give a run's, an experiment's, or one of checkpoints"]
    return [*missing, *refusals(lambda: averager_of(c))]


def averager_of(c: AverageConfig) -> Averager:
    """The scheme as an averager whose cadence counts snapshots. Raises UserError for a value that the scheme refuses."""
    makers = {
        "lawa": lambda: averaging.lawa(c.k, every_steps=1, name=c.variant),
        "ema": lambda: averaging.ema(c.decay, warmup=c.warmup, name=c.variant),
        "uniform": lambda: averaging.swa(1, every_steps=1, name=c.variant or "uniform"),
        "merge": lambda: averaging.merge(c.k, c.decay_shape, every_steps=1, name=c.variant),
    }
    try:
        return makers[c.scheme]()
    except ValueError as e:
        raise UserError(f"scheme={c.scheme}: {e}") from e


def local_series(folder: Path) -> list[tuple[str, Path]]:
    """Names and paths of the checkpoints in a folder, in the order of the numbers in their names.

    A checkpoint is a safetensors file or a folder that holds some. Raises UserError where there is none.
    """
    found = [
        p for p in folder.iterdir()
        if p.suffix == ".safetensors" or (p.is_dir() and any(p.glob("*.safetensors")))
    ]  # fmt: skip
    if not found:
        raise UserError(f"runs={folder} holds neither runs (manifest.json) nor checkpoints (safetensors)")
    return [(p.name, p) for p in sorted(found, key=lambda p: _natural(p.name))]


def run_snapshots(folder: Path, start_tokens: int = 0, every: int = 1) -> list[tuple[str, Path]]:
    """Names and paths of a run's snapshots from ``start_tokens`` on, every n-th of them."""
    paths = sorted((folder / "snapshots").glob("tokens=*.safetensors"))
    return [(p.name, p) for p in paths if snapshot_tokens(p) >= start_tokens][::every]


def snapshot_tokens(path: Path) -> int:
    """The tokens that a run's snapshot is named by."""
    return int(path.stem.removeprefix("tokens="))


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _average_run(run: Path, averager: Averager, c: AverageConfig) -> None:
    series = run_snapshots(run, c.start_tokens, c.every)
    if not series:
        raise UserError(
            f"{run} has no snapshots from {c.start_tokens:,} tokens on; train with callbacks.weight_snapshots, "
            "or lower start_tokens"
        )
    evaluation = _RunEvaluation(run, averager.name, c.overwrite) if c.evaluate else None
    paths = _write(series, averager, Path(c.to) if c.to else run / "averages" / averager.name, c, {"run": str(run)})
    if evaluation:
        evaluation.score(paths)


def _write(
    series: list[tuple[str, Path]], averager: Averager, folder: Path, c: AverageConfig, origin: dict[str, Any]
) -> list[Path]:
    if c.overwrite and folder.exists():
        shutil.rmtree(folder)
    paths = average_series(
        series, averager.rule, folder, name=averager.name, last_only=c.last_only, origin=origin
    )  # fmt: skip
    say(f"{folder}: {len(paths)} averages ({averager.name}) of {len(series)} checkpoints")
    return list(paths.values())


class _RunEvaluation:
    """A stored run, set up to score other weights on its validation windows."""

    def __init__(self, run: Path, variant: str, overwrite: bool) -> None:
        self.store, self.variant = _opened(run), variant
        self._refuse_taken_name(overwrite)
        manifest = self.store.manifest() or {}
        config = OmegaConf.create(manifest["config"])
        checked = parse(config, TrainConfig)
        torch.set_num_threads(manifest["threads"])
        schedule = token_schedule(checked.intervals, checked.tokens_per_step)
        data = prepare(checked.data, checked.tokenizer, schedule.final_tokens)
        refuse_other_data(self.store, data)
        self.model = build_module(config, checked, data).model
        engine = EvaluationEngine(data.splits, checked.trainer.evaluation_batch_windows)
        position = TokenDataModule(data, checked.seed, checked.data.windows_per_step).interval_position
        self.context = RunContext(self.store, schedule, engine, position, data.token_bytes_V)
        self.consumers = list(_consumers(config, self.context))

    def score(self, paths: list[Path]) -> None:
        """Rows of every averaged snapshot, in parts of their own."""
        for path in paths:
            step = snapshot_tokens(path) // self.context.schedule.tokens_per_step
            interval = self.context.due(step)
            if interval is None:
                continue  # a snapshot between two marks has no row to stand beside
            weights = _OneVariant(self.variant, read_checkpoint(path))
            tables = self.context.engine.evaluate(interval, self.model, self.consumers, [weights], raw=False)
            for table, rows in tables.items():
                self.store.write(table, interval, rows, suffix=self.variant)
        say(f"{self.store.folder}: {len(paths)} averages evaluated as variant {self.variant}")

    def _refuse_taken_name(self, overwrite: bool) -> None:
        """Rows of two averages under one name would be taken for one curve."""
        parts = sorted((self.store.folder / "metrics" / "intervals").glob("part-*.parquet"))
        ours = [p for p in parts if p.name.endswith(f".{self.variant}.parquet")]
        for part in set(parts) - (set(ours) if overwrite else set()):
            if self.variant in pq.read_table(part, columns=["variant"])["variant"].to_pylist():
                raise UserError(
                    f"{self.store.folder} has rows of a variant {self.variant} already; give another variant=…, "
                    "or overwrite=true where task=average wrote them"
                )


class _OneVariant:
    def __init__(self, name: str, weights: Mapping[str, Tensor]) -> None:
        self.name, self.weights = name, weights

    def variants(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        yield self.name, self.weights


def _opened(run: Path) -> RunStore:
    store = RunStore(run, "", "", None)
    manifest = store.manifest() or {}
    return RunStore(run, manifest["experiment"], manifest["run"], manifest["seed"])


def _consumers(config: DictConfig, context: RunContext) -> Iterator[LossConsumer]:
    """The callbacks of the run that turn losses into rows."""
    for name, node in config.callbacks.items():
        callback = build(node, f"callbacks.{name}") if node else None
        if isinstance(callback, LossConsumer):
            if isinstance(callback, RunCallback):
                callback.bind(context)
            yield callback
