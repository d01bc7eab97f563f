"""The configuration of each task as a dataclass; the groups that several share are in `trajlab.config.groups`.

`trajlab.config.parse.configured` turns a composed Hydra config into the dataclass of its task (`TrainConfig`,
`PrepareConfig`, …) or raises `ConfigProblems` with everything that is wrong. What no field can see by itself stands in
the dataclass' ``problems()``. Nodes that name a ``_target_`` (model, optimizer, schedule, callbacks, logger) stay open to
plug-ins: their keys are checked against the target's signature instead, and the cheap ones are built on trial.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig

from trajlab.config.groups import (
    MOST_UNIQUE,
    DataConfig,
    IntervalsConfig,
    LossConfig,
    SeedsConfig,
    TokenizerConfig,
    TrainerConfig,
    at_least,
    one_of,
)
from trajlab.names import name_problems

STUDIES = ("budget", "averaging", "temporal", "position_weighting", "trajectories")
"""What a run can be a part of; the analysis judges the published claims of that study."""
LAYOUTS = ("stream", "documents")
BACKENDS = ("bigbench", "lm_eval")
BIGBENCH_SHOTS = 2
"""Examples before a question of BIG-bench where the configuration doesn't say."""
SCHEMES = ("lawa", "ema", "uniform", "merge")


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
    study: str | None = one_of(STUDIES, None)
    """What study the run is a part of; None: of none, so no published claim is judged by it."""

    seeds: SeedsConfig = field(default_factory=SeedsConfig)

    def seed_for(self, purpose: str) -> int:
        """The seed of ``init``, ``order`` or ``dropout``."""
        own: int | None = getattr(self.seeds, purpose)
        return self.seed if own is None else own

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.data.windows_per_step * self.data.context

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        yield from name_problems("name", self.name)
        if self.intervals.budget_tokens < self.tokens_per_step:
            yield (
                f"intervals.budget_tokens={self.intervals.budget_tokens:,} is under one optimizer step of "
                f"{self.tokens_per_step:,} tokens (data.windows_per_step × data.context); raise the budget or shrink the step"
            )
        if self.data.validation_fraction >= 1:
            yield f"data.validation_fraction={self.data.validation_fraction} leaves nothing to train on; write a number below 1"
        if not -(2**63) <= self.seed < 2**63:
            yield f"seed={self.seed} must be from -2**63 to 2**63 - 1, what a table's column holds"
        unique, most = self.data.unique_tokens, MOST_UNIQUE * self.intervals.budget_tokens
        if unique is not None and unique > most:
            yield (
                f"data.unique_tokens={unique} is more than {MOST_UNIQUE} times intervals.budget_tokens="
                f"{self.intervals.budget_tokens}: all of it would be tokenised, and hardly any seen; lower it, or write null"
            )
        entries = self.model.get("vocab_size", self.tokenizer.vocab_size)
        if not self.tokenizer.path and isinstance(entries, int) and self.tokenizer.vocab_size > entries:
            yield (
                f"tokenizer.vocab_size={self.tokenizer.vocab_size} is larger than model.vocab_size={entries}; "
                "make them equal"
            )
        if self.data.windows_per_step < self.trainer.devices:
            yield (
                f"data.windows_per_step={self.data.windows_per_step} must be at least trainer.devices="
                f"{self.trainer.devices}: each process needs a window of every step"
            )


@dataclass(frozen=True, kw_only=True)
class ExportConfig(PrepareConfig):
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
    """What lists and brings the checkpoints (trajlab.checkpoints.sources)."""
    model_class: str | None = None
    """The class that a run of trajlab trained, where it is neither trajlab's own nor one of transformers."""

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        yield from name_problems("model.name", self.name)
        if self.remote_code not in (None, self.name):
            yield f"model.remote_code={self.remote_code!r} must be {self.name!r}, the model whose code may run, or null"


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The text that every checkpoint is scored on."""

    documents: int = at_least(1)
    """Validation documents of each split: the same text whatever the tokenizer."""
    layout: str = one_of(LAYOUTS)
    """stream: all in a row; documents: each by itself."""
    context: int | None = at_least(1)
    """Targets of a window; None: as many as the model has positions."""
    stride: int | None = at_least(1)
    """Tokens from one window to the next; None: the context. A token counts once in any case."""
    separator: str = "eos"
    """Of layout stream, what stands between documents: eos, bos, none, or a text; what stood there in training."""
    begin_windows: bool = False
    """Put the begin-of-text token in the first place of every window, in the middle of a text too."""
    align_last: bool = False
    """Let the last window of a text end where the text does, as long as the others; a token counts once in any case."""

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        if self.stride and self.context and self.stride > self.context:
            yield (
                f"evaluation.stride={self.stride} is more than evaluation.context={self.context}: tokens would be left out"
            )


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Which questions are asked of every checkpoint."""

    tasks: list[str]
    """bigbench: files or patterns; lm_eval: names. None: no benchmark."""
    backend: str = one_of(BACKENDS)
    shots: int | None = at_least(0, None)
    """Examples before each question; None: 2 of bigbench, of lm_eval as many as each task asks for itself."""
    limit: int | None = at_least(1)
    """Questions of each task; None: all."""
    include_path: str | None = None
    """lm_eval: a folder with tasks of one's own."""
    items: bool = True
    """Store every question's answer too (table `task_items`)."""


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
    benchmark: BenchmarkConfig
    averaging: DictConfig
    measures: DictConfig
    callbacks: DictConfig
    study: str | None = one_of(STUDIES, None)
    """What study the evaluation is a part of; None: of none."""
    skip_broken: bool = False
    """Go on without a checkpoint that can't be brought or opened; manifest and report name it."""
    worker: int = 0
    """Number of the process; of no effect but that a sweep over it starts several side by side."""
    lease_seconds: float = at_least(1, 120.0)
    """How long a process on another machine may be silent until its checkpoint is taken over."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """``task=audit``."""

    name: str
    runs_dir: str
    overwrite: bool
    model: CheckpointModelConfig
    weights: bool = True
    """Read the tensors too; false: what names, sizes and hashes of files tell."""

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        yield from name_problems("name", self.name)


@dataclass(frozen=True, kw_only=True)
class CompactConfig:
    """``task=compact``."""

    runs: str
    """A run, an experiment's folder, or any folder above."""


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
    overwrite: bool = False
    """Replace other sequences that a former command drew into the same file."""

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        if not 0 < self.top_p <= 1:
            yield f"top_p={self.top_p} must be above 0 and at most 1"
        yield from _pairs_problems(self.lambdas)


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

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        yield from name_problems("name", self.name)
        for key, names in (("made", self.made), ("mixtures", self.mixtures)):
            yield from (p for name in names for p in name_problems(f"the name of {key}", name))
        for name, pair in self.mixtures.items():
            if len(pair) != 2 or not set(pair) <= set(self.made):
                yield f"mixtures.{name}={pair} must name two of {', '.join(self.made)}, the smaller first"
        yield from _pairs_problems(self.lambdas)


def _pairs_problems(lambdas: list[list[float]]) -> Iterator[str]:
    if any(len(pair) != 2 for pair in lambdas):
        yield f"lambdas={lambdas} must be pairs of λ_small and λ_large"


@dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """``task=average``."""

    runs: str
    """A run, an experiment's folder, or a local series: a folder of checkpoints."""
    scheme: str = one_of(SCHEMES)
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

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        yield from name_problems("variant", self.variant)
