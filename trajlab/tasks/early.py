"""What is wrong with a command and shows without torch: refused in a second, before anything heavy is imported.

Trying the same by building (`trajlab.config.trial`) comes later, and finds what can't be told here.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from trajlab.config.build import build
from trajlab.config.groups import SOURCES, DataConfig
from trajlab.config.parse import refusals
from trajlab.config.schema import ExportConfig, TrainConfig
from trajlab.data import tokenizer
from trajlab.data.path_corpus import PathCorpus
from trajlab.errors import did_you_mean
from trajlab.evaluation.intervals import token_schedule
from trajlab.models.llama_shape import LlamaConfig

OPTIMIZERS = ("torch.optim.", "trajlab.training.optimizers.")
"""Those whose arguments mean what they are called; a plug-in's may mean anything."""
LLAMA = "trajlab.models.llama.LlamaModel"
SCHEDULES = "trajlab.training.schedules."
NOT_NEGATIVE = ("lr", "weight_decay", "eps", "momentum")


def problems(c: object) -> list[str]:
    """Of the checked values of a task, as far as they can be judged here."""
    if isinstance(c, ExportConfig):
        return export_problems(c)
    if isinstance(c, TrainConfig):
        return training_problems(c)
    data = getattr(c, "data", None)  # of whatever reads text
    return corpus_problems(data) if isinstance(data, DataConfig) else []


def corpus_problems(data: DataConfig) -> list[str]:
    """Of the paths that text is to be read from."""
    sources = [data.source, *(v.source for v in data.validation.values())]
    paths = [Path(s) for s in sources if isinstance(s, str) and s not in SOURCES]
    return [problem for path in dict.fromkeys(paths) for problem in refusals(partial(PathCorpus, path))]


def export_problems(c: ExportConfig) -> list[str]:
    """Of the snapshot, the place and the tokenizer."""
    missing = [] if Path(c.snapshot).is_file() else [f"snapshot={c.snapshot}: there is no such file"]
    if Path(c.to).exists() and not Path(c.to).is_dir():
        missing.append(f"to={c.to} is no folder; give another place")
    return [*missing, *tokenizer.problems(c.tokenizer)]


def training_problems(c: TrainConfig) -> list[str]:
    """Of marks, schedule, optimizer, model, text and tokenizer."""
    own_schedule = str(c.schedule.get("_target_")).startswith(SCHEDULES)
    return [
        *refusals(lambda: token_schedule(c.intervals, c.tokens_per_step)),
        *(refusals(lambda: build(c.schedule, "schedule")) if own_schedule else []),
        *optimizer_problems(c.optimizer),
        *shape_problems(c.model),
        *corpus_problems(c.data),
        *tokenizer.problems(c.tokenizer),
    ]


def shape_problems(node: Mapping[str, Any]) -> list[str]:
    """Of trajlab's own model: numbers that don't go together."""
    if node.get("_target_") != LLAMA:
        return []
    shape = {str(k): v for k, v in node.items() if not str(k).startswith("_")}
    known = [f.name for f in fields(LlamaConfig)]
    if unknown := [k for k in shape if k not in known]:
        return [f"model.{k}: the model has no such number{did_you_mean(k, known)}" for k in unknown]
    try:
        LlamaConfig(**shape)
    except (ValueError, TypeError) as e:
        return [f"model ({LLAMA}): {e}"]
    return []


def optimizer_problems(node: Mapping[str, Any]) -> Iterator[str]:
    """Arguments that no optimizer of torch takes."""
    if not str(node.get("_target_")).startswith(OPTIMIZERS):
        return
    for name in NOT_NEGATIVE:
        if name in node and not _number(node[name]):
            yield f"optimizer.{name}={node[name]} must be a number, at least 0"
    if "betas" in node and not _pair(node["betas"]):
        yield f"optimizer.betas={node['betas']} must be two numbers from 0 to below 1, e.g. optimizer.betas=[0.9,0.95]"


def _number(value: Any, below: float = math.inf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < below


def _pair(value: Any) -> bool:
    return (
        not isinstance(value, str)
        and hasattr(value, "__len__")
        and len(value) == 2
        and all(_number(v, 1) for v in value)
    )
