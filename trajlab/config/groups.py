"""The groups of the configuration that several tasks share: data, tokenizer, intervals, trainer, loss, seeds.

Each is a dataclass whose fields have types and ranges; what no field can see by itself stands in ``problems()``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, field
from typing import Any

SOURCES = ("auto", "cache", "hub", "embedded")
"""Words of ``data.source``; any other is a path."""
WINDOW_OFFSETS = ("random", "fixed")


TOKENIZERS = ("bpe", "bytes")


PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Those in which losses are summed in float32, and weights are kept in it."""


ACCELERATORS = ("cpu", "gpu", "cuda", "mps", "auto")


STRATEGIES = ("auto", "ddp", "fsdp")
"""The last is known and refused with the reason."""


MOST_MARKS = 100_000
"""A run that is measured more often than that spends its days in evaluation."""


MOST_UNIQUE = 100
"""A short run may take the order of a run so many times as long."""


ON_NONFINITE = ("stop", "skip")


POSITION_WEIGHTINGS = {"none": (0.0, 0.0), "head": (0.0, 0.1), "body": (0.1, 0.9), "tail": (0.9, 1.0)}
"""The share of the context, from and to, whose training loss is scaled (arXiv 2404.17785)."""


def weighted_positions(weighting: str, context: int) -> range:
    """The positions of a context, from 1, that a weighting names. Raises KeyError for another name."""
    start, end = (round(share * context) for share in POSITION_WEIGHTINGS[weighting])
    return range(start + 1, end + 1)


def at_least(low: float, default: Any = MISSING) -> Any:
    """A field with a smallest value."""
    return field(default=default, metadata={"low": low})


def one_of(options: Iterable[str], default: Any = MISSING) -> Any:
    """A field that takes one of these words."""
    return field(default=default, metadata={"options": tuple(options)})


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """One validation split."""

    windows: int = at_least(1)
    source: str | dict[str, Any] | None = None
    """Another corpus, named as in `DataConfig.source`, whose validation split is taken; None: the training corpus' own."""
    stride: int | None = at_least(1, None)
    """Tokens from one window's start to the next; None: the context, so that each token counts once."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which text, how much of it, cut how."""

    source: str | dict[str, Any]
    """A word or a path that `trajlab.data.corpora.resolve` knows, or a node whose ``_target_`` builds a corpus."""
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
    window_offset: str = one_of(WINDOW_OFFSETS, "random")
    """Where an epoch's windows are cut: random (at an offset of the epoch's own) or fixed (at the same places)."""
    validation: dict[str, ValidationConfig]
    validation_fraction: float = at_least(0)
    """Share of the documents that is held out where the text has no validation part. 1: all, for text that nobody trains on."""
    cache_dir: str
    hub_timeout: float = at_least(0)

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        if self.validation_fraction > 1:
            yield f"data.validation_fraction={self.validation_fraction} must be at most 1, all of the text"
        if not self.validation:
            yield "data.validation names no split; give at least one, e.g. +data.validation.valid.windows=256"
        nodes = {"data.source": self.source} | {
            f"data.validation.{n}.source": v.source for n, v in self.validation.items()
        }
        for key, node in nodes.items():
            if isinstance(node, dict) and "_target_" not in node:
                yield f"{key}={node} names no class; write _target_: package.Class, or give a word or a path"


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Train a byte-level BPE, take the bytes as they are, or load a tokenizer."""

    kind: str = one_of(TOKENIZERS, "bpe")
    """bpe: train one; bytes: 256 bytes and the end of a text, no training. A path goes before both."""
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

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        ways = [n for n in ("every_tokens", "marks", "geometric") if getattr(self, n) is not None]
        if len(ways) != 1:
            yield f"intervals: give one of every_tokens, marks and geometric, got {', '.join(ways) or 'none'}"
        if self.geometric is not None and set(self.geometric) != {"first_tokens", "count"}:
            yield f"intervals.geometric={self.geometric} must give first_tokens and count, and nothing else"
        elif self.geometric is not None:
            yield from self._geometric_problems(**self.geometric)
        if self.every_tokens is not None and self.budget_tokens // self.every_tokens > MOST_MARKS:
            yield f"intervals.every_tokens={self.every_tokens} makes more than {MOST_MARKS:,} intervals; raise it"

    def _geometric_problems(self, first_tokens: int, count: int) -> Iterator[str]:
        if not 1 <= count <= MOST_MARKS:
            yield f"intervals.geometric.count={count} must be from 1 to {MOST_MARKS:,}"
        if not 1 <= first_tokens <= self.budget_tokens:
            yield (
                f"intervals.geometric.first_tokens={first_tokens} must be from 1 to "
                f"intervals.budget_tokens={self.budget_tokens}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How the arithmetic is done."""

    accelerator: str = one_of(ACCELERATORS)
    devices: int = at_least(1)
    strategy: str = one_of(STRATEGIES)
    """How several devices train one run: auto and ddp are the same, gradients averaged over processes."""
    precision: str = one_of(PRECISIONS)
    threads: int | None = at_least(1)
    """CPU threads; None: as many as the run had, or as cores are free now (`trajlab.cores.free_cores`). Another number
    may change the last bits of the sums, and hinders no run from being resumed."""
    micro_batch_windows: int | None = at_least(1)
    """Windows in one forward and backward pass; None: all of a step."""
    evaluation_batch_windows: int = at_least(1)
    gradient_clip: float | None = at_least(0)
    compile: bool | str
    """Compile the model's forward and backward pass (needs a C++ compiler on a processor): true, false, or auto where the
    run is long enough to earn the time back (`trajlab.training.compiling`). The last bits differ from an eager run's."""
    on_nonfinite: str = one_of(ON_NONFINITE, "stop")
    """What follows a training loss or gradient norm that is not finite: stop (the run ends as diverged) or skip (that
    step's update is left out and the run goes on)."""

    def problems(self) -> Iterator[str]:
        """What no key can see by itself."""
        if isinstance(self.compile, str) and self.compile != "auto":
            yield f"trainer.compile={self.compile!r} must be true, false or auto"
        if self.strategy == "fsdp":
            yield (
                "trainer.strategy=fsdp is not there: snapshots, averages and evaluation need whole weights in a process "
                "(docs/cluster.md); a model that fits one device trains on several with trainer.strategy=ddp"
            )
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            yield "trainer.precision=16-mixed needs a GPU; on a processor write trainer.precision=bf16-mixed"


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What training minimises."""

    position_weighting: str = one_of(POSITION_WEIGHTINGS, "none")
    """Positions whose loss is scaled by ``position_factor``: none, head (first tenth), body, tail (last tenth)."""
    position_factor: float = at_least(0, 0.5)


@dataclass(frozen=True, kw_only=True)
class SeedsConfig:
    """Separate seeds, to tell where the spread between runs comes from; None: the run's ``seed``."""

    init: int | None = at_least(0, None)
    """The initial weights."""
    order: int | None = at_least(0, None)
    """The order of the windows, and where they are cut."""
    dropout: int | None = at_least(0, None)
