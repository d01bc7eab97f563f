"""Results of lm-evaluation-harness (JSON), as table `tasks` holds them."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd


def read_lm_eval(path: Path | str, tokens_per_step: float | None = None) -> pd.DataFrame:
    """Results of lm-evaluation-harness, old and new format: one JSON file, or all at or below a folder.

    Columns as in table `tasks`: model, step, tokens, task, metric, filter, value, stderr, n, shots. Model and step come
    from ``pretrained=…,revision=step…`` of the model's arguments, else from the file's name (``160m_step1000.json``);
    tokens are step × ``tokens_per_step`` (2,097,152 for Pythia), NaN without. Raises FileNotFoundError for no file,
    ValueError for JSON that holds no results.
    """
    path = Path(path)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise FileNotFoundError(f"{path}: no lm-evaluation-harness JSON here")
    frame = pd.DataFrame([row for file in files for row in _lm_eval_rows(file)])
    frame.insert(2, "tokens", frame["step"] * (math.nan if tokens_per_step is None else tokens_per_step))
    return frame


def _lm_eval_rows(file: Path) -> Iterator[dict[str, Any]]:
    content = json.loads(file.read_text())
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise ValueError(f"{file}: no 'results' in it; is it a results file of lm-evaluation-harness?")
    model, step = _model_and_step(content, file.stem)
    shots, counts = content.get("n-shot", {}), content.get("n-samples", {})
    default_shots = (content.get("config") or {}).get("num_fewshot")
    for task, values in content["results"].items():
        for key, value in values.items():
            metric, _, chosen = key.partition(",")
            if metric.endswith("_stderr") or isinstance(value, bool) or not isinstance(value, int | float):
                continue  # the alias, "N/A", and errors, which stand beside their value
            stderr = values.get(f"{metric}_stderr,{chosen}" if chosen else f"{metric}_stderr")
            yield {
                "model": model,
                "step": step,
                "task": task,
                "metric": metric,
                "filter": chosen or None,
                "value": float(value),
                "stderr": float(stderr) if isinstance(stderr, int | float) else math.nan,
                "n": (counts.get(task) or {}).get("effective"),
                "shots": shots.get(task, default_shots),
            }


def _model_and_step(content: Mapping[str, Any], stem: str) -> tuple[str, float]:
    arguments = (content.get("config") or {}).get("model_args") or {}
    if isinstance(arguments, str):
        arguments = dict(part.split("=", 1) for part in arguments.split(",") if "=" in part)
    named = re.fullmatch(r"(?P<model>.+?)[_-]step(?P<step>\d+)", stem)
    pretrained = arguments.get("pretrained") or content.get("model_name") or (named["model"] if named else stem)
    revision = re.search(r"step[_-]?(\d+)", str(arguments.get("revision", "")))
    step = revision[1] if revision else named["step"] if named else math.nan
    return str(pretrained).rstrip("/").split("/")[-1], float(step)
