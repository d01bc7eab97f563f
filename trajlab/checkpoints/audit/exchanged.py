"""Two checkpoints that hold some of each other's tensors: no digest tells, since neither lies where it belongs.

The way through training does: it becomes shorter for these tensors, and longer for the others, when the two are exchanged.
Shapes: C checkpoints in the order of training, T tensors.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from trajlab.checkpoints.audit.fault import Fault
from trajlab.checkpoints.audit.tensor_facts import distances
from trajlab.checkpoints.audit.trend import Audited, trending

GAIN = 1.1
"""How many times as long the way to the neighbours must be as it is after the exchange **(ours)**. What two tensors gain by going
back to where they belong is, for neighbours in time, 1.2 where each step is drawn anew (a random walk) and 1.5 on a straight way,
and more the farther apart they are; what others gain is less than 1, and 1 for tensors that only scatter around a place."""
CHANCE = 1.5
"""Added over the root of a tensor's number of values: a distance of N independent values is off by 1/√(2N) of itself, so that the
ratio of four to four is by 0.5/√N; three times that."""
VALUES = 512
"""Values that the exchanged tensors, and the others, must have together: short vectors alone seem exchanged by chance, among so
many pairs, and where nearly everything is exchanged the checkpoints themselves are out of order."""


def exchanged(series: Sequence[Audited]) -> Iterator[Fault]:
    """``mixed`` for both of a pair. A pair that is found is put aside before the next is sought."""
    names = [n for n in trending(series) if not any(c.facts[n].nonfinite for c in series)]
    if len(names) < 2:
        return
    ways_TCC = np.array([distances([c.facts[n] for c in series]) for n in names])
    sizes_T = np.array([len(series[0].facts[n].sample_N) for n in names])
    left = np.arange(len(series))
    while (pair := _pair(ways_TCC[:, left[:, None], left], sizes_T)) is not None:
        places, theirs_T = pair
        one, other = (series[left[p]] for p in places)
        tensors = tuple(n for n, t in zip(names, theirs_T, strict=True) if t)
        words = f"{len(tensors)} of {len(one.facts)} tensors are exchanged with those of"
        yield Fault("mixed", (one.revision, other.revision), f"{words} {other.revision}", tensors)
        yield Fault("mixed", (other.revision, one.revision), f"{words} {one.revision}", tensors)
        left = np.delete(left, places)


def _pair(ways_TCC: np.ndarray, sizes_T: np.ndarray) -> tuple[tuple[int, int], np.ndarray] | None:
    """The exchange that shortens the way most, if any does: both places, and of each tensor whether it takes part."""
    if ways_TCC.shape[1] < 3:
        return None
    before_TCC, after_TCC = np.array([_around(w, 2) for w in ways_TCC]).swapaxes(0, 1)
    theirs_TCC = before_TCC > after_TCC * (GAIN + CHANCE / np.sqrt(sizes_T))[:, None, None]
    inside_CC = np.tensordot(sizes_T, theirs_TCC, 1)
    # of all exchanges that would shorten the way, the one that saves most of it: weighed by the tensors' numbers of values
    before_TCC, after_TCC = np.array([_around(w, 1) for w in ways_TCC]).swapaxes(0, 1)
    saved_TCC = (before_TCC - after_TCC) / np.maximum(ways_TCC.sum((1, 2), keepdims=True), np.finfo(float).tiny)
    told_CC = np.where(theirs_TCC, saved_TCC * sizes_T[:, None, None], 0.0).sum(0)
    told_CC[inside_CC < VALUES] = 0.0
    one, other = sorted(int(p) for p in np.unravel_index(np.argmax(told_CC), told_CC.shape))
    # nearly everything: the checkpoints are out of order themselves, which is for `foreign` to say
    whole = sizes_T.sum() - inside_CC[one, other] < VALUES
    return ((one, other), theirs_TCC[:, one, other]) if told_CC[one, other] > 0 and not whole else None


def _around(ways_CC: np.ndarray, ends: int) -> np.ndarray:
    """(2, C, C): a tensor's way from two checkpoints to those beside them, as it is and with the two exchanged.

    At an end the only neighbour counts ``ends`` times: once for the way's length; twice where places are compared, so that no
    end is cheap.
    """
    C = len(ways_CC)
    before, after = np.maximum(np.arange(C) - 1, 0), np.minimum(np.arange(C) + 1, C - 1)
    before[0], after[-1] = after[0], before[-1]
    weight_C = np.ones(C)
    weight_C[[0, -1]] = ends / 2
    # at a place, in the row, with what a checkpoint, in the column, holds
    held_CC = weight_C[:, None] * (ways_CC[before] + ways_CC[after])
    own_C = np.diag(held_CC)
    put_CC = held_CC + held_CC.T
    for one in range(C - 1):  # beside each other: the neighbour holds the other's
        for at, by in ((one, one + 1), (one + 1, one)):
            again = weight_C[at] * (int(before[at] == by) + int(after[at] == by))
            put_CC[one, one + 1] += again * ways_CC[at, by]
            put_CC[one + 1, one] = put_CC[one, one + 1]
    return np.array([own_C[:, None] + own_C, put_CC])
