"""Averages over a series of checkpoints, which come one after another.

`SeriesAverages` holds them as weight variants, `taken_by` says which checkpoints an averager takes, `needed` which ones
have to be brought so that the averages of the remaining checkpoints are whole.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch

from trajlab.averaging.rules import Averager
from trajlab.averaging.running import RunningAverages
from trajlab.checkpoints.sources import Checkpoint


def needed(checkpoints: Sequence[Checkpoint], done: set[int], averagers: Sequence[Averager]) -> list[Checkpoint]:
    """The checkpoints to bring: those without a row, and the done ones before them that an average is still made of."""
    todo = [c.index for c in checkpoints if c.index not in done]
    wanted = set(todo)
    for averager in averagers:
        taken = taken_by(averager, checkpoints)
        for index in todo:
            seen = [i for i in taken if i <= index]
            wanted |= {i for i, weight in zip(seen, averager.rule.weights(len(seen)), strict=True) if weight}
    # an average goes over consecutive checkpoints: from the first that is needed on, none is left out
    first = min(wanted, default=len(checkpoints))
    return [c for c in checkpoints if c.index in wanted or (averagers and first <= c.index <= max(todo))]


def taken_by(averager: Averager, checkpoints: Sequence[Checkpoint]) -> list[int]:
    """Indices of the checkpoints that an averager takes: those at which a multiple of its cadence has passed."""
    marks = [c.step if averager.unit == "steps" else c.tokens for c in checkpoints]
    return [i for i, (before, now_) in enumerate(zip([-1, *marks], marks, strict=False)) if averager.due(before, now_)]


class SeriesAverages:
    """Averages over a series as weight variants: each checkpoint is loaded once and pushed once."""

    def __init__(self, averagers: Sequence[Averager], checkpoints: Sequence[Checkpoint]) -> None:
        self._running = {a.name: RunningAverages(a.rule) for a in averagers}
        self._taken = {a.name: set(taken_by(a, checkpoints)) for a in averagers}

    def push(self, checkpoint: Checkpoint, parameters: Mapping[str, torch.Tensor]) -> None:
        """Take a checkpoint's parameters, for the averagers whose turn it is."""
        for name, running in self._running.items():
            if checkpoint.index in self._taken[name]:
                running.push(parameters)

    def variants(self) -> Iterator[tuple[str, Mapping[str, torch.Tensor]]]:
        """Every average that has begun."""
        return ((name, average) for name, average in self._running.items() if average)
