"""The state that a run resumes from: a checkpoint of Lightning, read without running code and tested before it is used.

A checkpoint may hold tensors, numbers, texts, lists and dictionaries, nothing else: then it can be read in the mode that
refuses everything that would be executed. `not_plain_state` says so when one is written, `checkpoint_problem` tells why one
can't be used, and `newest_usable` takes the one before where the last is damaged.
"""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trajlab.errors import UserError
from trajlab.terminal import say

NEEDED = ("state_dict", "global_step", "optimizer_states", "lr_schedulers", "loops", "callbacks")
"""What every checkpoint of a run has."""


class Resumable(NamedTuple):
    """A checkpoint that can be used."""

    path: Path
    step: int
    """Optimizer steps done."""


def newest_usable(paths: Sequence[Path], state: Mapping[str, Tensor]) -> Resumable | None:
    """The first of the checkpoints, the newest first, that is whole and fits a model's ``state``; None where there is none.

    One that is passed over is named with a warning. Raises UserError where there are some and none can be used.
    """
    there = [p for p in paths if p.exists()]
    problems: list[str] = []
    for path in there:
        content, problem = _read(path)
        if content is not None and (problem := _misfit(content, state)) is None:
            for passed in problems:
                say(f"warning: {passed}; the one before is used, {path}")
            return Resumable(path, int(content["global_step"]))
        problems.append(f"{path} {problem}")
    if problems:
        raise UserError(
            "; ".join(problems) + ". Restore a copy, or remove the folder checkpoints to train the run again from its "
            "start, or write overwrite=true"
        )
    return None


def _read(path: Path) -> tuple[dict[str, Any] | None, str | None]:
    """The content of a checkpoint, or why it can't be had."""
    try:
        # torch doesn't compare the sums that the archive keeps of its files
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                return None, f"is damaged ({damaged})"
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        return None, (
            "is refused: it holds more than numbers and tensors, so reading it would run code (a former version of "
            "trajlab may have written it, or a stranger)"
        )
    except Exception as e:
        return None, f"can't be read ({type(e).__name__}): it is damaged"
    return (content, None) if isinstance(content, dict) else (None, "is no checkpoint")


def _misfit(content: Mapping[str, Any], state: Mapping[str, Tensor]) -> str | None:
    if absent := [key for key in NEEDED if key not in content]:
        return f"is no checkpoint of a run: it lacks {absent[0]}"
    stored = content["state_dict"]
    if not isinstance(stored, Mapping) or not all(isinstance(t, Tensor) for t in stored.values()):
        return "is no checkpoint of a run: its state_dict holds other things than tensors"
    if not isinstance(content["global_step"], int):
        return f"is no checkpoint of a run: global_step is {content['global_step']!r}"
    if differing := sorted(stored.keys() ^ state.keys()):
        return f"doesn't fit the model: {differing[0]} is in one of them alone"
    if wrong := next((name for name, t in state.items() if stored[name].shape != t.shape), None):
        return f"doesn't fit the model: {wrong} is {tuple(stored[wrong].shape)} there, {tuple(state[wrong].shape)} here"
    return None


def not_plain_state(value: Any, key: str) -> str | None:
    """The first key below which a state holds more than tensors, numbers, texts, lists and dictionaries."""
    if isinstance(value, Mapping):
        below = ((v, f"{key}.{k}") for k, v in value.items())
        return next((found for v, k in below if (found := not_plain_state(v, k))), None)
    if type(value) in (list, tuple):
        return next((found for i, v in enumerate(value) if (found := not_plain_state(v, f"{key}[{i}]"))), None)
    plain = value is None or type(value) in (bool, int, float, str, bytes) or isinstance(value, Tensor)
    return None if plain else f"{key} ({type(value).__name__})"
