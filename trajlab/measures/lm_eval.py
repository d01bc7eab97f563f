"""Tasks of lm-evaluation-harness, through its own library: ``benchmark.backend=lm_eval`` (``pip install "trajlab[tasks]"``).

Its results become rows of the same tables `tasks` and `task_items` as `trajlab.measures.multiple_choice` writes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import pyarrow as pa

from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.measures.items import Item, LastAnswers, question_digest
from trajlab.store.tables import TASKS


class HarnessTasks:
    """Any tasks by the names that the harness gives them, e.g. ``[lambada_openai, piqa]``.

    Raises UserError where the library isn't installed.
    """

    table = "tasks"

    def __init__(
        self,
        tasks: Sequence[str],
        shots: int | None = None,
        limit: int | None = None,
        batch: int = 16,
        include: str | None = None,
    ) -> None:
        self.tasks, self.shots, self.limit, self.batch, self.include = list(tasks), shots, limit, batch, include
        self._manager: Any = None
        self._last: LastAnswers[Mapping[str, Any]] = LastAnswers()

    def prepare(self, text: EvaluationText, tokenizer: Any) -> None:
        """Import the library and look the tasks up, so that what is missing shows before the first checkpoint is scored.

        ``shots`` None leaves each task the number that it asks for itself; ``include`` is a folder with tasks of one's own.
        """
        if self._manager is not None:
            return  # looking the tasks up takes seconds
        self._evaluator, self._wrapper, manager = _library()
        self._manager = manager(include_path=self.include)
        if unknown := [t for t in self.tasks if not self._manager.match_tasks([t])]:
            raise UserError(
                f"benchmark.tasks: lm-evaluation-harness has no task {unknown[0]!r}; lm_eval --tasks list names them all "
                "(benchmark.include_path=… adds a folder of your own)"
            )

    def rows(self, model: CheckpointModel) -> pa.Table:
        """A row for every number that a task reports."""
        results = self._last.of(model, self._ask)
        return pa.Table.from_pylist(list(harness_rows(results)), schema=TASKS.rows)

    def items(self, model: CheckpointModel) -> list[Item]:
        """One per document of a task."""

        def count_tokens(text: str) -> int:
            return len(model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

        return list(harness_items(self._last.of(model, self._ask), count_tokens))

    def _ask(self, model: CheckpointModel) -> Mapping[str, Any]:
        wrapped = self._wrapper(pretrained=model.hf, tokenizer=model.tokenizer, batch_size=self.batch)
        return self._evaluator.simple_evaluate(
            model=wrapped,
            tasks=self.tasks,
            num_fewshot=self.shots,
            limit=self.limit,
            task_manager=self._manager,
            log_samples=True,
        )


def harness_rows(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a results dictionary of the harness (0.4): ``results``, ``n-samples`` and ``n-shot`` by task."""
    for task, numbers in results["results"].items():
        samples = results.get("n-samples", {}).get(task, {})
        for key, value in numbers.items():
            metric, _, kind = key.partition(",")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or metric.endswith("_stderr") or not kind:
                continue
            stderr = numbers.get(f"{metric}_stderr,{kind}")
            yield {
                "task": task,
                "metric": metric if kind == "none" else f"{metric},{kind}",
                "value": float(value),
                "stderr": float(stderr) if isinstance(stderr, (int, float)) else None,
                "n": samples.get("effective"),
                "shots": _shots(results, task),
            }


def _shots(results: Mapping[str, Any], task: str) -> int | None:
    """Examples before each question; a text that is scored by rolling windows has none, whatever was asked for."""
    if results.get("configs", {}).get(task, {}).get("output_type") == "loglikelihood_rolling":
        return 0
    return results.get("n-shot", {}).get(task)


ACCURACIES = ("acc", "exact_match", "acc_norm", "em")
"""What of a sample says whether it was right, the first that is there."""


def harness_items(results: Mapping[str, Any], count_tokens: Callable[[str], int]) -> Iterator[Item]:
    """Single documents from the harness' samples (``log_samples``); of several filters the first.

    The harness says which option is right by its number or its text; where it says neither (some tasks with several
    contexts), two options tell it all the same: the chosen one, or the other.
    """
    for task, samples in (results.get("samples") or {}).items():
        first = samples[0].get("filter") if samples else None
        yield from (_item(task, s, count_tokens) for s in samples if s.get("filter") == first)


def _item(task: str, sample: Mapping[str, Any], count_tokens: Callable[[str], int]) -> Item:
    asked = [tuple(map(str, a)) for a in sample["arguments"]]
    scored = [_log_likelihood(r) for r in sample["filtered_resps"]]
    if "acc_mutual_info" in sample:  # each option once more, without its question
        asked, scored = asked[: len(asked) // 2], scored[: len(scored) // 2]
    values = tuple(v for v in scored if v is not None)
    if len(values) < len(scored):  # what was generated has no likelihood
        asked, values = [], ()
    rolling = bool(asked) and len(asked[0]) == 1
    options = [a[-1] for a in asked]
    several = len(options) > 1
    right = next((float(sample[m]) for m in ACCURACIES if isinstance(sample.get(m), int | float | bool)), None)
    gold = _gold(sample.get("target"), options, values, right)
    return Item(
        task,
        int(sample["doc_id"]),
        question_digest(str(sample.get("doc_hash") or sample.get("doc")), *options),  # shots left out
        gold,
        None if gold is None else values[gold],
        right,
        1 / len(options) if several else None,
        values,
        None if rolling else tuple(_tokens(a[0], a[1], count_tokens) for a in asked),
        tuple(len(option.encode()) for option in options),
    )


def _log_likelihood(answer: Any) -> float | None:
    """The number itself (rolling windows), or the first of (log-likelihood, is it the greedy choice)."""
    value = answer[0] if isinstance(answer, Sequence) and not isinstance(answer, str) and answer else answer
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _gold(target: Any, options: Sequence[str], values: Sequence[float], right: float | None) -> int | None:
    if len(options) < 2:
        return 0 if options else None
    if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < len(options):
        return target
    fitting = [i for i, option in enumerate(options) if option.strip() == str(target).strip()]
    if len(fitting) == 1:
        return fitting[0]
    if len(options) == 2 and right in (0.0, 1.0):
        best = max((0, 1), key=values.__getitem__)
        return best if right else 1 - best
    return None


def _tokens(context: str, option: str, count_tokens: Callable[[str], int]) -> int:
    """Tokens of an option, which takes the spaces that end its context, as the harness encodes them."""
    return count_tokens(context + option) - count_tokens(context.rstrip())


def _library() -> tuple[Any, Any, Any]:
    try:
        wrapper = import_module("lm_eval.models.huggingface").HFLM
        return import_module("lm_eval"), wrapper, import_module("lm_eval.tasks").TaskManager
    except ModuleNotFoundError as e:
        raise UserError(
            f"benchmark.backend=lm_eval needs lm-evaluation-harness ({e.name} is missing): pip install 'trajlab[tasks]'"
        ) from e
