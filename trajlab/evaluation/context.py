"""What the members of a run share: the store, the token marks, the evaluation engine, the newest numbers.

A `RunContext` is built once, complete, by a task (or by hand, beside any Trainer). Each `RunMember` is bound to it before
the run begins: consumers of losses are members and nothing more, callbacks of Lightning are `RunCallback`s.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Self, cast

import lightning as L
import numpy as np

from trajlab.evaluation.engine import RAW, EvaluationEngine
from trajlab.evaluation.intervals import Marks
from trajlab.protocols import Interval, TrainingModule
from trajlab.store.run_store import RunStore


class FinalLoss(NamedTuple):
    """A forecast of the loss at the end of a run, in nats, with its band."""

    loss: float
    low: float
    high: float
    reaches: float | None = None
    """Probability that it is at or under the run's target."""
    cooldown: float | None = None
    """Where a cooldown started now would end."""


@dataclass
class Latest:
    """The newest numbers of a run, for whoever shows them."""

    losses: dict[tuple[str, str], float] = field(default_factory=dict)
    """Validation loss in nats by split and variant."""
    training: dict[str, float] = field(default_factory=dict)
    """State of training at the newest interval, by column of table `intervals`; empty at initialisation."""
    forecast: FinalLoss | None = None
    saved_step: int | None = None
    """The optimizer step that the newest checkpoint was written after; None: none by this process."""
    signal: int | None = None
    """The signal that asks the run to stop after the present step; all processes that train it have the same."""

    def metrics(self) -> dict[str, float]:
        """Losses as ``split/loss`` and ``split/variant/loss``, the interval's training as ``interval/…``: for loggers."""
        losses = {f"{split}/{_prefix(variant)}loss": loss for (split, variant), loss in self.losses.items()}
        return losses | {f"interval/{name}": value for name, value in self.training.items()}


def _prefix(variant: str) -> str:
    return "" if variant == RAW else f"{variant}/"


def _single_pass(step: int) -> tuple[float, int]:
    return 0.0, 0


@dataclass(frozen=True)
class RunContext:
    """One run's surroundings."""

    store: RunStore
    schedule: Marks
    engine: EvaluationEngine
    position: Callable[[int], tuple[float, int]] = _single_pass
    """Epochs done and unique tokens seen after a number of steps."""
    token_bytes_V: np.ndarray | None = None
    """Bytes of text behind each id, for bits per byte."""
    split_bytes: dict[str, int] = field(default_factory=dict)
    """Exact bytes of text behind a split, where they are known; they go before ``token_bytes_V``."""
    token_texts: Callable[[np.ndarray], list[str]] | None = None
    """The vocabulary's entries of ids, as the tokenizer spells them, for records that name tokens."""
    latest: Latest = field(default_factory=Latest)

    def interval(self, index: int, step: int | None = None) -> Interval:
        """The interval of a mark; ``step`` where the run stands elsewhere than at it."""
        step = self.schedule.steps[index] if step is None else step
        epoch, unique = self.position(step)
        tokens = step * self.schedule.tokens_per_step
        return Interval(index, self.schedule.marks[index], tokens, step, epoch, unique)

    def due(self, step: int) -> Interval | None:
        """The interval that is due after ``step`` optimizer steps, or None."""
        index = self.schedule.due(step)
        return None if index is None else self.interval(index)


class RunMember:
    """Something that takes part in a run and knows it: the base of a plain consumer of losses."""

    run: RunContext

    def bind(self, run: RunContext) -> Self:
        """Tell it which run it serves."""
        self.run = run
        return self


class RunCallback(RunMember, L.Callback):
    """A member that needs hooks of Lightning, or state in the checkpoints that a run resumes from."""

    order: int = 0
    """Callbacks run from low to high, in the configuration's order where equal. What must be ready before a due mark is
    evaluated goes below 0. The evaluation itself stands at 0, after the callbacks there that offer weights to evaluate and
    before the others. The checkpoint, which promises that all is written, stands at 100."""


def training_module(pl_module: L.LightningModule) -> TrainingModule:
    """The trained module as callbacks read it. Raises TypeError, naming what lacks, for another LightningModule."""
    wanted = [*TrainingModule.__annotations__, "learning_rate"]
    absent = [name for name in wanted if not hasattr(pl_module, name)]
    if not absent:
        return cast(TrainingModule, pl_module)
    raise TypeError(
        f"{type(pl_module).__name__} lacks {', '.join(absent)}, which this callback reads; train with "
        "trajlab.training.language_model.LanguageModel, or give your module what trajlab.protocols.TrainingModule names"
    )
