"""Tasks of lm-evaluation-harness, through its own library: ``benchmark.backend=lm_eval`` (``pip install "trajlab[tasks]"``).

Its results become rows of the same table `tasks` as `trajlab.measures.multiple_choice` writes.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import pyarrow as pa

from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
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

    def prepare(self, text: EvaluationText, tokenizer: Any) -> None:
        """Import the library and look the tasks up, so that what is missing shows before the first checkpoint is scored.

        ``shots`` None leaves each task the number that it asks for itself; ``include`` is a folder with tasks of one's own.
        """
        self._evaluator, self._wrapper, manager = _library()
        self._manager = manager(include_path=self.include)
        if unknown := [t for t in self.tasks if not self._manager.match_tasks([t])]:
            raise UserError(
                f"benchmark.tasks: lm-evaluation-harness has no task {unknown[0]!r}; lm_eval --tasks list names them all "
                "(benchmark.include_path=… adds a folder of your own)"
            )

    def rows(self, model: CheckpointModel) -> pa.Table:
        """A row for every number that a task reports."""
        wrapped = self._wrapper(pretrained=model.hf, tokenizer=model.tokenizer, batch_size=self.batch)
        results = self._evaluator.simple_evaluate(
            model=wrapped, tasks=self.tasks, num_fewshot=self.shots, limit=self.limit, task_manager=self._manager
        )
        return pa.Table.from_pylist(list(harness_rows(results)), schema=TASKS.rows)


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


def _library() -> tuple[Any, Any, Any]:
    try:
        wrapper = import_module("lm_eval.models.huggingface").HFLM
        return import_module("lm_eval"), wrapper, import_module("lm_eval.tasks").TaskManager
    except ModuleNotFoundError as e:
        raise UserError(
            f"benchmark.backend=lm_eval needs lm-evaluation-harness ({e.name} is missing): pip install 'trajlab[tasks]'"
        ) from e
