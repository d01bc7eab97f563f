"""What a run's callbacks share: the store, the token schedule, the evaluation engine.

`RunContext` is built by `trajlab.tasks.train` (or by hand, beside any Trainer) and bound to each `RunCallback` before training.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import lightning as L
import numpy as np

from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import TokenSchedule
from trajlab.protocols import Interval
from trajlab.store.run_store import RunStore


def _single_pass(step: int) -> tuple[float, int]:
    return 0.0, 0


@dataclass
class RunContext:
    """One run's surroundings."""

    store: RunStore
    schedule: TokenSchedule
    engine: EvaluationEngine
    position: Callable[[int], tuple[float, int]] = _single_pass
    """Epochs done and unique tokens seen after a number of steps."""
    token_bytes_V: np.ndarray | None = None
    """Bytes of text behind each id, for bits per byte."""
    split_bytes: dict[str, int] = field(default_factory=dict)
    """Exact bytes of text behind a split, where they are known; they go before ``token_bytes_V``."""
    token_texts: Callable[[np.ndarray], list[str]] | None = None
    """The vocabulary's entries of ids, as the tokenizer spells them, for records that name tokens."""
    latest: dict[str, float] = field(default_factory=dict)
    """The newest metrics by name, for whoever shows them."""

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


class RunCallback(L.Callback):
    """A callback that knows its run."""

    run: RunContext
    order: int = 0
    """Callbacks run from low to high, in the configuration's order where equal: what others read goes below 0, the
    checkpoint, which promises that all is written, stands at 100."""

    def bind(self, run: RunContext) -> Self:
        """Tell it which run it serves."""
        self.run = run
        return self
