"""BIG-bench multiple choice from ``task.json`` files, by the likelihood of each option.

`load_task` reads a file, `MultipleChoice` is the measure that a series runs at every checkpoint (table `tasks`). The
shots are drawn once a task **(ours)**, so that what all questions begin with is computed once and its keys and values
are shared; questions with their options are batched behind it. Shapes: R rows (question × option), T tokens.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from trajlab.data.documents import EvaluationText, tokenize
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.evaluation.nll import logit_losses
from trajlab.rng import seed_of
from trajlab.store.tables import TASKS


@dataclass(frozen=True)
class Example:
    """A question, its options and what each is worth."""

    input: str
    options: tuple[str, ...]
    scores: tuple[float, ...]


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
            Example(str(e["input"]), tuple(e["target_scores"]), tuple(map(float, e["target_scores"].values())))
            for e in spec["examples"]
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
    except (OSError, json.JSONDecodeError) as e:
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
        rows = [row for task in self._tasks for row in self._measure(task, model)]
        return pa.Table.from_pylist(rows, schema=TASKS.rows)

    def _measure(self, task: Task, model: CheckpointModel) -> Iterator[dict[str, Any]]:
        shots, asked = split_shots(task, self.shots, self.seed, self.limit)
        likelihoods = option_likelihoods(model, task, shots, asked, self.batch)
        values: dict[str, list[float]] = {
            "multiple_choice_grade": [],
            "unnormalised_grade": [],
            "correct_log_likelihood": [],
        }
        for example, (sums, counts) in zip(asked, likelihoods, strict=True):
            values["multiple_choice_grade"].append(example.scores[int(np.argmax(sums / counts))])
            values["unnormalised_grade"].append(example.scores[int(np.argmax(sums))])
            values["correct_log_likelihood"].append(float((sums / counts)[int(np.argmax(example.scores))]))
        for metric, v in values.items():
            stderr = float(np.std(v, ddof=1) / len(v) ** 0.5) if len(v) > 1 else None
            yield {
                "task": task.name,
                "metric": metric,
                "value": float(np.mean(v)),
                "stderr": stderr,
                "n": len(v),
                "shots": self.shots,
            }


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


@dataclass(frozen=True)
class Row:
    """A question with one of its options, as ids."""

    ids: tuple[int, ...]
    start: int
    """Where the option begins; at least 1."""

    def cut(self, longest: int) -> "Row":
        """The last ``longest`` ids."""
        over = max(len(self.ids) - longest, 0)
        return Row(self.ids[over:], max(self.start - over, 1))


def _encoded(tokenizer: Any, task: Task, shots: Sequence[Example], asked: Sequence[Example]) -> list[Row]:
    context = task.context(shots)
    rows = []
    for example in asked:
        question = context + task.question(example)
        alone = tokenize(tokenizer, question).ids_N
        for option in example.options:
            whole = tokenize(tokenizer, question + option).ids_N
            start = _common_prefix([alone, whole])
            rows.append(Row(tuple(whole.tolist()), max(min(start, len(whole) - 1), 1)))
    return rows


def _common_prefix(sequences: Sequence[Sequence[int] | np.ndarray]) -> int:
    """Ids that all of them begin with."""
    shortest = min(map(len, sequences))
    first = np.asarray(sequences[0])[:shortest]
    differing = [np.flatnonzero(np.asarray(s)[:shortest] != first) for s in sequences[1:]]
    return min((int(d[0]) for d in differing if len(d)), default=shortest)


@torch.no_grad()
def row_likelihoods(model: CheckpointModel, rows: Sequence[Row], batch: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of each row's option, and its tokens. What all rows begin with goes through the model once."""
    model.refuse_ids(max(max(r.ids) for r in rows))
    device = next(model.lm.parameters()).device
    shared, cache = _shared_prefix(model, rows, device)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    sums, counts = np.zeros(len(rows)), np.zeros(len(rows))
    for first in range(0, len(order), batch):
        some = order[first : first + batch]
        logp_RT, mask_RT = _suffix_logp(model, [rows[i] for i in some], shared, cache, device)
        sums[some] = (logp_RT * mask_RT).sum(1).numpy()
        counts[some] = mask_RT.sum(1).numpy()
    return sums, counts


def _shared_prefix(model: CheckpointModel, rows: Sequence[Row], device: torch.device) -> tuple[int, Any]:
    """How many ids all rows begin with, and the model's cache of them; 0 and None where it can't be repeated.

    Recurrent models keep a state instead of keys and values, others have a cache of their own make. So it is tried: the
    shortest row behind the cache has to give what the whole row gives.
    """
    shared = min(_common_prefix([r.ids for r in rows]), min(r.start for r in rows) - 1)
    if not shared:
        return 0, None
    prefix_1P = torch.tensor([rows[0].ids[:shared]], device=device)
    trial = [min(rows, key=lambda r: len(r.ids))] * 2  # two, so that repeating is tried
    try:
        cache = model.hf(input_ids=prefix_1P, use_cache=True).past_key_values
        behind, mask = _suffix_logp(model, trial, shared, cache, device)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError, RuntimeError):
        return 0, None
    whole, whole_mask = _suffix_logp(model, trial, 0, None, device)
    close = torch.allclose(behind[mask], whole[whole_mask], rtol=0, atol=CACHE_ATOL.get(model.hf.dtype, 0.5))
    return (shared, cache) if close else (0, None)


CACHE_ATOL = {torch.float32: 1e-3, torch.float64: 1e-6}
"""Nats per token between the two ways; half precision rounds them apart by more."""


def _suffix_logp(
    model: CheckpointModel, rows: Sequence[Row], shared: int, cache: Any, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Log-probability (float64) of each id after the shared prefix's next one, and which of them are the option's."""
    T = max(len(r.ids) for r in rows) - shared - 1
    ids_RS = torch.zeros(len(rows), T + 1, dtype=torch.int64)
    mask_RT = torch.zeros(len(rows), T, dtype=torch.bool)
    for number, row in enumerate(rows):
        ids_RS[number, : len(row.ids) - shared] = torch.tensor(row.ids[shared:])
        mask_RT[number, row.start - shared - 1 : len(row.ids) - shared - 1] = True
    options: dict[str, Any] = {"use_cache": False}
    if cache is not None:
        own = copy.deepcopy(cache)  # the pass appends to it
        own.batch_repeat_interleave(len(rows))
        seen = torch.ones(len(rows), shared + T, dtype=torch.int64, device=device)
        options = {"use_cache": True, "past_key_values": own, "attention_mask": seen}
    logits_RTV = model.hf(input_ids=ids_RS[:, :-1].to(device), **options).logits
    return -logit_losses(logits_RTV, ids_RS[:, 1:]).double().cpu(), mask_RT
