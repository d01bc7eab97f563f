"""``task=average``: averages of the snapshots of stored runs, or of any local series of checkpoints.

The averaged weights go to ``averages/<variant>`` in the run's folder, in the snapshots' own format and with a provenance
record; their losses become further rows of the run's tables, under the variant's name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch import Tensor

from trajlab import averaging
from trajlab.averaging import Averager
from trajlab.averaging.over_files import average_series
from trajlab.checkpoints.snapshots import load_tied
from trajlab.checkpoints.weights import read_weights
from trajlab.config.groups import DataConfig, IntervalsConfig, TokenizerConfig, TrainerConfig
from trajlab.config.parse import parse, refusals
from trajlab.config.schema import AverageConfig
from trajlab.config.stored import corpus_class
from trajlab.data.datamodule import TokenDataModule
from trajlab.data.prepare import prepare
from trajlab.errors import UserError
from trajlab.evaluation.context import RunContext, RunMember
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import token_schedule
from trajlab.evaluation.stored_consumers import stored_consumers
from trajlab.models.rebuild import rebuild
from trajlab.store import layout
from trajlab.store.compaction import expand
from trajlab.store.manifest import model_description, refuse_other_data, stored_config
from trajlab.store.run_store import RunStore, read_part
from trajlab.terminal import say, to_see


@dataclass(frozen=True, kw_only=True)
class StoredRunConfig:
    """What of a stored run's configuration is needed to score other weights on its windows: values, no classes."""

    seed: int
    data: DataConfig
    tokenizer: TokenizerConfig
    intervals: IntervalsConfig
    trainer: TrainerConfig


def average(config: DictConfig) -> None:
    """Average every run below ``runs``, or the series that lies there."""
    checked = parse(config, AverageConfig, _problems)
    averager, root = averager_of(checked), Path(checked.runs)
    runs = list(layout.run_folders(root))
    if checked.to and len(runs) > 1:
        raise UserError(
            f"to={checked.to} is one place for {len(runs)} runs; leave it out, each run's folder takes its own"
        )
    problems = [p for run in runs for p in refusals(partial(_average_run, run, averager, checked, config))]
    if problems:
        raise UserError("\n".join([*problems, f"The other {len(runs) - len(problems)} of {len(runs)} runs are done."]))
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
    found = [p for p in folder.iterdir() if p.suffix == ".safetensors" or (p.is_dir() and any(p.glob("*.safetensors")))]
    if not found:
        raise UserError(f"runs={folder} holds neither runs (manifest.json) nor checkpoints (safetensors)")
    return [(p.name, p) for p in sorted(found, key=lambda p: _natural(p.name))]


def run_snapshots(folder: Path, start_tokens: int = 0, every: int = 1) -> list[tuple[str, Path]]:
    """Names and paths of a run's snapshots from ``start_tokens`` on, every n-th of them."""
    return [(p.name, p) for p in layout.snapshots(folder) if layout.snapshot_tokens(p) >= start_tokens][::every]


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _average_run(run: Path, averager: Averager, c: AverageConfig, asked: DictConfig) -> None:
    series = run_snapshots(run, c.start_tokens, c.every)
    if not series:
        raise UserError(
            f"{run} has no snapshots from {c.start_tokens:,} tokens on; train with callbacks.weight_snapshots, "
            "or lower start_tokens"
        )
    folder = Path(c.to) if c.to else layout.averages_folder(run, averager.name)
    store = RunStore.open(run)
    with store.lock():
        if c.evaluate:
            expand(run)  # rows are added, and those of a variant that is replaced are taken away
        evaluation = _RunEvaluation(store, averager.name, c.overwrite or folder.exists(), asked) if c.evaluate else None
        paths = _write(series, averager, folder, c, {"run": str(run)})
        if c.overwrite:
            store.remove_parts(averager.name)  # of the averages that have been replaced
        if evaluation:
            evaluation.score(paths)


def _write(
    series: list[tuple[str, Path]], averager: Averager, folder: Path, c: AverageConfig, origin: dict[str, Any]
) -> list[Path]:
    paths = average_series(
        series, averager.rule, folder, name=averager.name, last_only=c.last_only, origin=origin, overwrite=c.overwrite
    )
    say(f"{folder}: {len(paths)} averages ({averager.name}) of {len(series)} checkpoints")
    return list(paths.values())


class _RunEvaluation:
    """A stored run, set up to score other weights on its validation windows.

    Its manifest is data: of the classes that it names, trajlab's own are built and those that ``asked``, the present
    command's configuration, names too.
    """

    def __init__(self, store: RunStore, variant: str, ours: bool, asked: DictConfig) -> None:
        self.store, self.variant, where = store, variant, f"{store.folder}/{layout.MANIFEST}"
        self._refuse_taken_name(ours)
        manifest = self.store.manifest() or {}
        config = stored_config(manifest, corpus_class(asked), where)
        checked = parse(config, StoredRunConfig)
        torch.set_num_threads(manifest.get("threads") or 1)
        schedule = token_schedule(checked.intervals, checked.data.windows_per_step * checked.data.context)
        data = prepare(checked.data, checked.tokenizer, schedule.final_tokens)
        refuse_other_data(self.store, data)
        described = manifest.get("model") or model_description(manifest["config"])
        if described is None:
            raise UserError(f"{where} doesn't say what its model is; write evaluate=false to average without scoring")
        self.model = cast(Any, rebuild(described, (asked.get("model") or {}).get("_target_"), where))
        self.batch_windows = checked.trainer.evaluation_batch_windows
        engine = EvaluationEngine(data.splits, self.batch_windows)
        position = TokenDataModule(data, checked.seed, checked.data.windows_per_step).interval_position
        self.context = RunContext(self.store, schedule, engine, position, data.token_bytes_V, dict(data.split_bytes))
        self.consumers = list(stored_consumers(manifest["config"].get("callbacks") or {}, asked.get("callbacks", {})))
        for consumer in self.consumers:
            if isinstance(consumer, RunMember):
                consumer.bind(self.context)

    def score(self, paths: list[Path]) -> None:
        """Rows of every averaged snapshot, in parts of their own."""
        for path in paths:
            step = layout.snapshot_tokens(path) // self.context.schedule.tokens_per_step
            interval = self.context.due(step)
            if interval is None:
                continue  # a snapshot between two marks has no row to stand beside
            state = read_weights(path)
            load_tied(self.model, state, str(path))  # for the buffers, which are no weights of a variant
            names = {name for name, _ in self.model.named_parameters()}
            weights = _OneVariant(self.variant, {n: t for n, t in state.items() if n in names})
            engine = EvaluationEngine(
                self.context.engine.splits, self.batch_windows
            )  # keeps no replica of former buffers
            tables = engine.evaluate(interval, self.model, self.consumers, [weights], raw=False)
            for table, rows in tables.items():
                self.store.write(table, interval, rows, suffix=self.variant)
        say(f"{self.store.folder}: {len(paths)} averages evaluated as variant {self.variant}")
        say(to_see(self.store.folder.parent))

    def _refuse_taken_name(self, ours_too: bool) -> None:
        """Rows of two averages under one name would be taken for one curve.

        ``ours_too``: rows that this task wrote may stand there, since they are replaced or belong to the same averages.
        """
        parts = layout.parts(self.store.folder, "intervals")
        ours = [p for p in parts if layout.part_suffix(p) == self.variant]
        for part in set(parts) - (set(ours) if ours_too else set()):
            if self.variant in set(read_part(part, ["variant"])["variant"].to_pylist()):
                raise UserError(
                    f"{self.store.folder} has rows of a variant {self.variant} already; give another variant=…, "
                    "or overwrite=true where task=average wrote them"
                )


class _OneVariant:
    def __init__(self, name: str, weights: Mapping[str, Tensor]) -> None:
        self.name, self.weights = name, weights

    def variants(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        yield self.name, self.weights
