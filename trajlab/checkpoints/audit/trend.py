"""The way of a series' tensors through training, and who leaves it.

Shapes: C checkpoints in the order of training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trajlab.checkpoints.audit.tensor_facts import Facts, distance

DETOUR = 2.5
"""A tensor jumps where the way over it is so many times longer than the way past it, than usual for it and than usual for
the others there **(ours)**. Small networks trained with AdamW were the only material in sight when it was chosen."""
SMALLEST = 16
"""Values that a tensor needs to have a trend."""


@dataclass(frozen=True)
class Audited:
    """A checkpoint's name and tensors."""

    revision: str
    facts: Facts


def moves(series: Sequence[Audited], name: str) -> list[bool]:
    """Whether a tensor changed from each checkpoint to the next."""
    digests = [c.facts[name].digest for c in series]
    return [a != b for a, b in pairwise(digests)]


def trending(series: Sequence[Audited]) -> list[str]:
    """Tensors that move more than once and are large enough to have a trend."""
    if len(series) < 3:
        return []
    return [n for n, f in series[0].facts.items() if len(f.sample_N) >= SMALLEST and sum(moves(series, n)) > 1]


def detours_over(series: Sequence[Audited], names: Sequence[str]) -> np.ndarray:
    """(C − 2, tensors): the way over a checkpoint by the way from the one before it to the one after it."""
    rows: list[list[float]] = []
    if not names:
        return np.empty((0, 0))
    for a, b, c in zip(series, series[1:], series[2:], strict=False):
        over = [distance(a.facts[n], b.facts[n]) + distance(b.facts[n], c.facts[n]) for n in names]
        past = [distance(a.facts[n], c.facts[n]) for n in names]
        rows.append([o / p if p > 0 else np.nan for o, p in zip(over, past, strict=True)])
    return np.array(rows).reshape(-1, len(names))


def off_the_way(detours: np.ndarray) -> np.ndarray:
    """(C − 2, tensors): where a tensor leaves the way of its neighbours in time while the other tensors don't."""
    own = np.nanmedian(detours, axis=0, keepdims=True)
    there = np.nanmedian(detours, axis=1, keepdims=True)
    return detours > DETOUR * np.maximum(own, there)
