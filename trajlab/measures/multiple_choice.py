"""BIG-bench multiple choice from ``task.json`` files, by the likelihood of each option.

`load_task` reads a file, `MultipleChoice` is the measure that a series runs at every checkpoint (table `tasks`). The
shots are drawn once per task **(ours)**, so that what all questions begin with is computed once
(`trajlab.measures.row_likelihoods`); questions with their options are batched behind it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trajlab.data.documents import EvaluationText, tokenize
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.measures.items import Item, LastAnswers, question_digest
from trajlab.measures.row_likelihoods import Row, common_prefix, row_likelihoods
from trajlab.rng import seed_of
from trajlab.store.tables import TASKS


@dataclass(frozen=True)
class Example:
    """A question, its options and what each is worth."""

    input: str
    options: tuple[str, ...]
    scores: tuple[float, ...]
    number: int = 0
    """Its place in the file."""


@dataclass(frozen=True)
class Answer:
    """A question with what a checkpoint thinks of each option."""

    example: Example
    sums: np.ndarray
    """Log-likelihood of each option, nats."""
    counts: np.ndarray
    """Its tokens."""

    @property
    def chosen(self) -> int:
        """The option with the highest log-likelihood per token."""
        return int(np.argmax(self.sums / self.counts))

    @property
    def gold(self) -> int:
        """The option that is worth most."""
        return int(np.argmax(self.example.scores))


@dataclass(frozen=True)
class Task:
    """A BIG-bench task of multiple choice; the prefixes are the format's own, with its defaults."""

    name: str
    examples: tuple[Example, ...]
    task_prefix: str = ""
    input_prefix: str = "\nQ: "
    output_prefix: str = "\nA: "
    choice_prefix: str = "\n  choice: "
    separator: str = ""
    append_choices: bool = True

    def question(self, example: Example) -> str:
        """The example up to its answer."""
        text = self.input_prefix + example.input
        if self.append_choices:
            text += "".join(self.choice_prefix + option for option in example.options)
        return text + self.output_prefix

    def shot(self, example: Example) -> str:
        """The example with its best option."""
        return self.question(example) + example.options[int(np.argmax(example.scores))] + self.separator

    def context(self, shots: Sequence[Example]) -> str:
        """What every question begins with."""
        return self.task_prefix + "".join(map(self.shot, shots))


def load_task(path: Path) -> Task:
    """A task from its ``task.json``. Raises UserError where the file is no JSON task of multiple choice."""
    try:
        spec = _json(path)
        examples = tuple(
            Example(str(e["input"]), tuple(e["target_scores"]), tuple(map(float, e["target_scores"].values())), number)
            for number, e in enumerate(spec["examples"])
        )
    except (KeyError, TypeError, AttributeError) as e:
        raise UserError(
            f"{path} is no BIG-bench task of multiple choice ({type(e).__name__}: {e}); wanted are examples with input "
            "and target_scores"
        ) from e
    return Task(
        _name(path),
        examples,
        spec.get("task_prefix", ""),
        spec.get("example_input_prefix", "\nQ: "),
        spec.get("example_output_prefix", "\nA: "),
        spec.get("choice_prefix", "\n  choice: "),
        spec.get("few_shot_example_separator", ""),
        spec.get("append_choices_to_input", True),
    )


def _is_multiple_choice(path: Path) -> bool:
    examples = _json(path).get("examples", [])
    return bool(examples) and all("target_scores" in e for e in examples)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as e:
        raise UserError(f"{path} is no JSON file ({e}); give task.json files of BIG-bench") from e


def _name(path: Path) -> str:
    """The folder, and for a subtask the folder above it too: subtasks are named alike in different tasks."""
    above = path.parent.parent / "task.json"
    return f"{path.parent.parent.name}:{path.parent.name}" if above.is_file() else path.parent.name


def task_files(patterns: Sequence[str]) -> dict[str, str]:
    """The files of tasks that patterns find, by the tasks' names. Raises UserError for a pattern that no file fits."""
    paths: list[str] = []
    for pattern in patterns:
        found = sorted(glob(str(Path(pattern).expanduser()), recursive=True))
        if not found:
            raise UserError(f"benchmark.tasks: no file fits {pattern!r}; give task.json files, or patterns of them")
        paths += found
    # a pattern may find heads of tasks, whose examples lie in folders below, and free-form tasks; a named file is meant
    meant = [Path(p) for p in paths if p in patterns or _is_multiple_choice(Path(p))]
    return {_name(p): str(p) for p in meant}


class MultipleChoice:
    """Accuracy on BIG-bench tasks under a checkpoint.

    ``tasks`` are files or glob patterns. The answer is the option with the highest log-likelihood per token. Metrics:
    ``multiple_choice_grade`` (the score of that option), ``unnormalised_grade`` (by the summed log-likelihood) and
    ``correct_log_likelihood`` (nats per token of the best option, which moves before the choice does), each with the
    standard error of its mean over ``n`` questions.
    """

    table = "tasks"

    def __init__(
        self, tasks: Sequence[str], shots: int = 2, limit: int | None = None, seed: int = 0, batch: int = 16
    ) -> None:
        self.tasks, self.shots, self.limit, self.seed, self.batch = list(tasks), shots, limit, seed, batch
        self._tasks: list[Task] = []
        self._last: LastAnswers[list[tuple[Task, list[Answer]]]] = LastAnswers()

    def prepare(self, text: EvaluationText, tokenizer: Any) -> None:
        """Read the tasks. Raises UserError for a pattern that no file fits and for a task with too few examples."""
        self._tasks = [load_task(Path(p)) for p in task_files(self.tasks).values()]
        for task in self._tasks:
            if len(task.examples) <= self.shots:
                raise UserError(
                    f"{task.name} has {len(task.examples)} examples, too few for benchmark.shots={self.shots}"
                )

    def rows(self, model: CheckpointModel) -> pa.Table:
        """Three rows per task."""
        answered = self._last.of(model, self._ask)
        rows = [row for task, answers in answered for row in _means(task.name, answers, self.shots)]
        return pa.Table.from_pylist(rows, schema=TASKS.rows)

    def items(self, model: CheckpointModel) -> list[Item]:
        """One per question."""
        return [_item(task, answer) for task, answers in self._last.of(model, self._ask) for answer in answers]

    def _ask(self, model: CheckpointModel) -> list[tuple[Task, list[Answer]]]:
        found = []
        for task in self._tasks:
            shots, asked = split_shots(task, self.shots, self.seed, self.limit)
            likelihoods = option_likelihoods(model, task, shots, asked, self.batch)
            found.append((task, [Answer(e, *both) for e, both in zip(asked, likelihoods, strict=True)]))
        return found


def _means(task: str, answers: Sequence[Answer], shots: int) -> Iterator[dict[str, Any]]:
    """Rows of table `tasks`."""
    values = {
        "multiple_choice_grade": [a.example.scores[a.chosen] for a in answers],
        "unnormalised_grade": [a.example.scores[int(np.argmax(a.sums))] for a in answers],
        "correct_log_likelihood": [float((a.sums / a.counts)[a.gold]) for a in answers],
    }
    for metric, v in values.items():
        stderr = float(np.std(v, ddof=1) / len(v) ** 0.5) if len(v) > 1 else None
        yield {
            "task": task,
            "metric": metric,
            "value": float(np.mean(v)),
            "stderr": stderr,
            "n": len(v),
            "shots": shots,
        }


def _item(task: Task, answer: Answer) -> Item:
    example = answer.example
    return Item(
        task.name,
        example.number,
        question_digest(task.question(example), *example.options),
        answer.gold,
        float(answer.sums[answer.gold]),
        example.scores[answer.chosen],
        float(np.mean(example.scores)),
        tuple(answer.sums.tolist()),
        tuple(int(n) for n in answer.counts),
        tuple(len(option.encode()) for option in example.options),
    )


def split_shots(task: Task, shots: int, seed: int, limit: int | None) -> tuple[list[Example], list[Example]]:
    """The examples that are shown, drawn once, and those that are asked: the others, the first ``limit`` of them."""
    order = np.random.default_rng(seed_of("sample", seed)).permutation(len(task.examples))
    shown = set(order[:shots].tolist())
    asked = [e for i, e in enumerate(task.examples) if i not in shown]
    return [task.examples[i] for i in order[:shots]], asked[:limit]


def option_likelihoods(
    model: CheckpointModel, task: Task, shots: Sequence[Example], asked: Sequence[Example], batch: int = 16
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each question the log-likelihood of every option (nats, summed) and its tokens.

    Question and option are encoded in one piece; the option's tokens are those after what the question alone encodes
    to. Where a prompt is longer than the model takes, shots are left out from the first on, for the whole task; what is
    still too long loses its beginning.
    """
    longest = model.lm.longest or 1 << 30
    rows = _encoded(model.tokenizer, task, shots, asked)
    while shots and max(len(r.ids) for r in rows) > longest:
        shots = shots[1:]
        rows = _encoded(model.tokenizer, task, shots, asked)
    sums, counts = row_likelihoods(model, [r.cut(longest) for r in rows], batch)
    ends = np.cumsum([len(e.options) for e in asked])[:-1]
    return list(zip(np.split(sums, ends), np.split(counts, ends), strict=True))


def _encoded(tokenizer: Any, task: Task, shots: Sequence[Example], asked: Sequence[Example]) -> list[Row]:
    context = task.context(shots)
    rows = []
    for example in asked:
        question = context + task.question(example)
        alone = tokenize(tokenizer, question).ids_N
        for option in example.options:
            whole = tokenize(tokenizer, question + option).ids_N
            start = common_prefix([alone, whole])
            rows.append(Row(tuple(whole.tolist()), max(min(start, len(whole) - 1), 1)))
    return rows
