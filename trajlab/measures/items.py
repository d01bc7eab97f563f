"""Single questions of a benchmark (table `task_items`): what each option cost, which was right, what was chosen.

`Item` is one of them, `TaskItems` the measure that stores those of a benchmark beside its means (table `tasks`). A
benchmark keeps the answers of the checkpoint that it asked last (`LastAnswers`), so that both cost one pass.
"""

import hashlib
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa

from trajlab.data.documents import EvaluationText
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.store.tables import TASK_ITEMS

Answers = TypeVar("Answers")


@dataclass(frozen=True)
class Item:
    """One question under one checkpoint; the fields are the columns of table `task_items`."""

    task: str
    item: int
    """Its number in the task, whatever part of the task is asked."""
    digest: str
    """Of question and options: what is compared between models is the same question."""
    gold: int | None
    """Place of the best option; None where a benchmark doesn't say."""
    gold_log_likelihood: float | None
    correct: float | None
    """What the chosen option is worth: 1 right, 0 wrong; a task may give parts."""
    chance: float | None
    """What an option drawn at random is worth."""
    option_log_likelihoods: tuple[float, ...]
    """Nats, summed over the option's tokens."""
    option_tokens: tuple[int, ...] | None
    """None for a text that is only scored."""
    option_bytes: tuple[int, ...]


def question_digest(*texts: str) -> str:
    """A hash of a question with its options."""
    return hashlib.blake2b("\x00".join(texts).encode(), digest_size=8).hexdigest()


def item_table(items: Iterable[Item]) -> pa.Table:
    """Rows of table `task_items`."""
    return pa.Table.from_pylist([asdict(i) for i in items], schema=TASK_ITEMS.rows)


class ItemisedBenchmark(Protocol):
    """A benchmark that knows its single questions."""

    def prepare(self, text: EvaluationText, tokenizer: Any) -> None:
        """Once, before the first checkpoint."""
        ...

    def items(self, model: CheckpointModel) -> Sequence[Item]:
        """Every question that was asked, answered by a checkpoint."""
        ...


class TaskItems:
    """The single questions of a benchmark as a measure of their own, so that they can also be had later."""

    table = "task_items"

    def __init__(self, benchmark: ItemisedBenchmark) -> None:
        self.benchmark = benchmark

    def prepare(self, text: EvaluationText, tokenizer: Any) -> None:
        """What the benchmark needs."""
        self.benchmark.prepare(text, tokenizer)

    def rows(self, model: CheckpointModel) -> pa.Table:
        """One row per question."""
        return item_table(self.benchmark.items(model))


class LastAnswers(Generic[Answers]):
    """The answers of the model that was asked last; the model itself is not kept in memory for it."""

    def __init__(self) -> None:
        self._model: Callable[[], CheckpointModel | None] = lambda: None
        self._answers: Answers | None = None

    def of(self, model: CheckpointModel, ask: Callable[[CheckpointModel], Answers]) -> Answers:
        """The stored answers, or those that ``ask`` gives for another model than before."""
        if self._answers is None or self._model() is not model:
            self._answers = ask(model)
            self._model = weakref.ref(model)
        return self._answers
