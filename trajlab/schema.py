"""The configuration as dataclasses: types, ranges, and one place where all problems are collected.

`parse` turns a composed Hydra config into the dataclass of its task (`TrainConfig`, `PrepareConfig`, …) or raises
`ConfigProblems` with everything that is wrong.
Nodes that name a ``_target_`` (model, optimizer, schedule, callbacks, logger) stay open to plug-ins: their keys are
checked against the target's signature instead.
"""

import inspect
import types
import typing
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from trajlab.errors import ConfigProblems
from trajlab.nll import POSITION_WEIGHTINGS

T = TypeVar("T")

WINDOW_OFFSETS = ("random", "fixed")


def at_least(low: float, default: Any = MISSING) -> Any:
    """A field with a smallest value."""
    return field(default=default, metadata={"low": low})


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """One validation split."""

    windows: int = at_least(1)
    source: str | None = None
    """Another corpus, whose validation split is taken; None: the training corpus' own."""
    stride: int | None = at_least(1, None)
    """Tokens from one window's start to the next; None: the context, so that each token counts once."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which text, how much of it, cut how."""

    source: str
    repo: str
    context: int = at_least(1)
    windows_per_step: int = at_least(1)
    unique_tokens: int | None = at_least(1)
    """Training tokens; the run goes over them as often as its budget asks. None: as many as the budget, each fresh.

    More than the budget: the run sees that many of them, the same and in the same order as a longer run would have.
    """
    sample_seed: int | None = at_least(0, 0)
    """Which documents are taken where not all are: the first of an order drawn from this seed, the same for every run of
    a study. None: the first of the corpus, which is often sorted by origin."""
    window_offset: str = "random"
    """Where an epoch's windows are cut: random (at an offset of the epoch's own) or fixed (at the same places)."""
    validation: dict[str, ValidationConfig]
    validation_fraction: float = at_least(0)
    cache_dir: str
    hub_timeout: float = at_least(0)


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Train a byte-level BPE, or load one."""

    path: str | None
    vocab_size: int = at_least(257)
    train_bytes: int = at_least(1)


@dataclass(frozen=True, kw_only=True)
class IntervalsConfig:
    """The budget and the token marks at which a run is measured."""

    budget_tokens: int = at_least(1)
    every_tokens: int | None = at_least(1)
    marks: list[int] | None
    """Explicit marks instead, the first 0, the last the budget."""
    geometric: dict[str, int] | None
    """``first_tokens`` and ``count`` instead: marks in equal ratios."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How the arithmetic is done."""

    accelerator: str
    devices: int = at_least(1)
    strategy: str
    precision: str
    threads: int | None = at_least(1)
    """CPU threads; None: all cores. Another number may change the last bits of the sums."""
    micro_batch_windows: int | None = at_least(1)
    """Windows in one forward and backward pass; None: all of a step."""
    evaluation_batch_windows: int = at_least(1)
    gradient_clip: float | None = at_least(0)
    compile: bool


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What training minimises."""

    position_weighting: str = "none"
    """Positions whose loss is scaled by ``position_factor``: none, head (first tenth), body, tail (last tenth)."""
    position_factor: float = at_least(0, 0.5)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """``task=prepare``."""

    data: DataConfig
    tokenizer: TokenizerConfig
    intervals: IntervalsConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """``task=train``."""

    name: str
    seed: int
    run_keys: list[str]
    runs_dir: str
    overwrite: bool
    data: DataConfig
    tokenizer: TokenizerConfig
    intervals: IntervalsConfig
    trainer: TrainerConfig
    loss: LossConfig
    model: DictConfig
    optimizer: DictConfig
    schedule: DictConfig
    callbacks: DictConfig
    logger: DictConfig

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.data.windows_per_step * self.data.context


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """``task=export``."""

    snapshot: str
    to: str


@dataclass(frozen=True, kw_only=True)
class CheckpointModelConfig:
    """A published model and where its checkpoints are."""

    name: str
    """Names the run, and the model in tables and figures."""
    size: str | None
    tokenizer: str | None
    """A hub repository or a folder; None: the checkpoint's own."""
    dtype: str
    device_map: str | None
    """As in transformers, for models larger than one device; needs the package accelerate."""
    remote_code: str | None
    """The model's name, where code that comes with it may be run; None: never."""
    series: DictConfig
    """What lists and brings the checkpoints (trajlab.checkpoints)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The text that every checkpoint is scored on."""

    documents: int = at_least(1)
    """Validation documents of each split: the same text whatever the tokenizer."""
    layout: str
    """stream: all in a row; documents: each by itself."""
    context: int | None = at_least(1)
    """Targets of a window; None: as many as the model has positions."""
    stride: int | None = at_least(1)
    """Tokens from one window to the next; None: the context. A token counts once in any case."""


@dataclass(frozen=True, kw_only=True)
class TasksConfig:
    """The task function, and which questions it asks of every checkpoint."""

    _target_: str
    tasks: list[str]
    """bigbench: files or patterns; lm_eval: names."""
    backend: str
    shots: int = at_least(0)
    limit: int | None = at_least(1)
    """Questions of each task; None: all."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """``task=evaluate``."""

    name: str
    runs_dir: str
    overwrite: bool
    data: DataConfig
    trainer: TrainerConfig
    model: CheckpointModelConfig
    evaluation: EvaluationConfig
    task: TasksConfig
    averaging: DictConfig
    measures: DictConfig
    callbacks: DictConfig


@dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """``task=mixture``."""

    data: DataConfig
    small: str
    """A checkpoint's folder."""
    large: str
    """A checkpoint's folder, of the same tokenizer."""
    to: str
    prompts: int = at_least(1)
    prompt_tokens: int = at_least(1)
    new_tokens: int = at_least(1)
    top_p: float = at_least(0)
    lambdas: list[list[float]]
    """Pairs of λ_small and λ_large."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class MadeSeriesConfig:
    """``experiment=checkpoint_series_small``."""

    name: str
    runs_dir: str
    overwrite: bool
    data: DataConfig
    made: dict[str, Any]
    """Models to train, by name."""
    mixtures: dict[str, list[str]]
    """Pairs of them, the smaller first, by the name of their family."""
    mixture_prompts: int = at_least(1)
    lambdas: list[list[float]]
    task_questions: int = at_least(1)
    """Questions of each kind."""


@dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """``task=average``."""

    runs: str
    """A run, an experiment's folder, or a local series: a folder of checkpoints."""
    scheme: str
    warmup: bool
    decay_shape: str
    last_only: bool
    variant: str | None
    evaluate: bool
    to: str | None
    overwrite: bool
    k: int = at_least(1)
    decay: float = at_least(0)
    start_tokens: int = at_least(0)
    every: int = at_least(1)


def parse(config: DictConfig, cls: type[T]) -> T:
    """The part of a composed config that ``cls`` describes. Raises ConfigProblems with every problem found."""
    names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    missing = [key for key in sorted(OmegaConf.missing_keys(config)) if key.split(".")[0] in names]
    problems = [f"{key} is not given; write {key}=…{_hint(key)}" for key in missing]
    open_nodes = [f.name for f in fields(cls) if typing.get_type_hints(cls)[f.name] is DictConfig]  # type: ignore[arg-type]
    for group in open_nodes:
        problems += _target_problems(config.get(group), group)
    if problems:
        raise ConfigProblems(problems)
    values = {name: config[name] for name in names if name in config}
    plain = {k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in values.items()}
    parsed = _build(cls, plain | {k: config[k] for k in open_nodes}, "", problems)
    if not problems and isinstance(parsed, TrainConfig):
        problems += _cross_check(parsed)
    if problems:
        raise ConfigProblems(problems)
    return parsed


def _hint(key: str) -> str:
    return " (an experiment sets it: experiment=tinystories_budget)" if key == "name" else ""


def _build(cls: type, values: dict[str, Any], prefix: str, problems: list[str]) -> Any:
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    problems += [
        f"{prefix}{key} is not a key; the keys here are {', '.join(known)}" for key in values if key not in known
    ]
    arguments = {}
    for name, spec in known.items():
        if hints[name] is DictConfig:
            arguments[name] = values[name]
        elif name in values:
            arguments[name] = _value(values[name], hints[name], spec.metadata.get("low"), f"{prefix}{name}", problems)
        elif spec.default is MISSING and spec.default_factory is MISSING:
            problems.append(f"{prefix}{name} is not given")
    complete = all(name in arguments or spec.default is not MISSING for name, spec in known.items())
    return cls(**arguments) if complete else None


def _value(value: Any, kind: Any, low: float | None, key: str, problems: list[str]) -> Any:
    """The value as its declared type, or a problem."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and type(None) in options:
        return None
    kind = next(o for o in options if o is not type(None))
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        return _build(typing.cast(type, kind), value, f"{key}.", problems)
    if origin is dict and isinstance(value, dict):
        if parts[1] is Any:
            return value
        return {k: _value(v, parts[1], None, f"{key}.{k}", problems) for k, v in value.items()}
    if origin is list and isinstance(value, list):
        return [_value(v, parts[0], None, f"{key}[{i}]", problems) for i, v in enumerate(value)]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if origin or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        problems.append(f"{key}={value!r} must be {_type_name(kind)}")
    elif low is not None and value < low:
        problems.append(f"{key}={value} must be at least {low:g}")
    return value


def _type_name(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(kind) or ("a list" if typing.get_origin(kind) is list else "a group of keys")


def _target_problems(node: Any, key: str) -> list[str]:
    """Targets that don't exist and keys that their signatures lack, here and below."""
    if not isinstance(node, DictConfig):
        return []
    if "_target_" not in node:
        return [p for name, child in node.items_ex(resolve=False) for p in _target_problems(child, f"{key}.{name!s}")]
    try:
        target = get_object(node._target_)
    except Exception as e:
        return [f"{key}._target_={node._target_} can't be imported ({e}); is its package installed?"]
    parameters = inspect.signature(target).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return []
    unknown = [k for k in map(str, node) if not k.startswith("_") and k not in parameters]
    return [f"{key}.{k} is not a key of {node._target_}; the keys are {', '.join(parameters)}" for k in unknown]


def _cross_check(c: TrainConfig) -> list[str]:
    """What no field can see by itself."""
    problems = []
    tokens_per_step = c.tokens_per_step
    if c.intervals.budget_tokens < tokens_per_step:
        problems.append(
            f"intervals.budget_tokens={c.intervals.budget_tokens:,} is under one optimizer step of {tokens_per_step:,} "
            "tokens (data.windows_per_step × data.context); raise the budget or shrink the step"
        )
    if not c.tokenizer.path and c.tokenizer.vocab_size > c.model.get("vocab_size", c.tokenizer.vocab_size):
        problems.append(
            f"tokenizer.vocab_size={c.tokenizer.vocab_size} is larger than model.vocab_size={c.model.vocab_size}; "
            "make them equal"
        )
    if c.data.validation_fraction >= 1:
        problems.append(f"data.validation_fraction={c.data.validation_fraction} must be below 1")
    if c.data.window_offset not in WINDOW_OFFSETS:
        problems.append(f"data.window_offset={c.data.window_offset!r} is none of {', '.join(WINDOW_OFFSETS)}")
    if not c.data.validation:
        problems.append("data.validation names no split; give at least one, e.g. +data.validation.valid.windows=256")
    if c.data.windows_per_step % c.trainer.devices:
        problems.append(
            f"data.windows_per_step={c.data.windows_per_step} must be a multiple of trainer.devices={c.trainer.devices}"
        )
    if c.loss.position_weighting not in POSITION_WEIGHTINGS:
        problems.append(
            f"loss.position_weighting={c.loss.position_weighting!r} is none of {', '.join(POSITION_WEIGHTINGS)}"
        )
    ways = [n for n in ("every_tokens", "marks", "geometric") if getattr(c.intervals, n) is not None]
    if len(ways) != 1:
        problems.append(f"intervals: give one of every_tokens, marks and geometric, got {', '.join(ways) or 'none'}")
    return problems
