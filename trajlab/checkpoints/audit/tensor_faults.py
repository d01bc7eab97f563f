"""Faults that show in the tensors: equal, mixed, broken, out of line with the trend of the others.

Shapes: C checkpoints in the order of training. A checkpoint that has one fault is left out of what comes after, so that
its neighbours aren't blamed for it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from trajlab.checkpoints.audit.exchanged import exchanged
from trajlab.checkpoints.audit.fault import Fault
from trajlab.checkpoints.audit.tensor_facts import TensorFacts, distance, relation
from trajlab.checkpoints.audit.trend import DETOUR, SMALLEST, Audited, detours_over, moves, off_the_way, trending

LAST_JUMP = 6.0
"""The same for the last checkpoint, by the length of its step alone, which varies more **(ours)**."""
RELATED = 5.0
"""Standard errors above chance from which on tensors count as related."""


def tensor_faults(series: Sequence[Audited]) -> list[Fault]:
    """Every fault of the tensors, in the order of training within each kind."""
    found: list[Fault] = []
    clean = list(series)
    for check in (_same, _tensors, _dtypes, _mixed, exchanged, _broken, _foreign, _descent, _still, _jumps):
        faults = list(check(clean))
        found += faults
        bad = {r for f in faults if f.kind not in ("still",) for r in f.revisions[: 1 if f.kind == "mixed" else None]}
        clean = [c for c in clean if c.revision not in bad]
    return found


def _same(series: Sequence[Audited]) -> Iterator[Fault]:
    groups: dict[object, list[str]] = {}
    for c in series:
        groups.setdefault(frozenset((n, f.digest) for n, f in c.facts.items()), []).append(c.revision)
    for group in groups.values():
        if len(group) > 1:
            yield Fault("same_weights", tuple(group), "every tensor is the same")


def _tensors(series: Sequence[Audited]) -> Iterator[Fault]:
    shapes = [frozenset((n, f.shape) for n, f in c.facts.items()) for c in series]
    usual = Counter(shapes).most_common(1)[0][0] if shapes else frozenset()
    for c, own in zip(series, shapes, strict=True):
        if own != usual:
            names = tuple(sorted({n for n, _ in own ^ usual}))
            yield Fault("tensors", (c.revision,), "it has other tensors, or other shapes, than most", names)


def _dtypes(series: Sequence[Audited]) -> Iterator[Fault]:
    names = series[0].facts if series else {}
    usual = {n: Counter(c.facts[n].dtype for c in series).most_common(1)[0][0] for n in names}
    for c in series:
        if other := tuple(n for n, f in c.facts.items() if f.dtype != usual[n]):
            words = f"stored as {c.facts[other[0]].dtype}, in most checkpoints as {usual[other[0]]}"
            yield Fault("dtype", (c.revision,), words, other)


def _broken(series: Sequence[Audited]) -> Iterator[Fault]:
    """Values that are not finite, and tensors that are zero: a vector may be so at first, a matrix at step 0."""
    for place, c in enumerate(series):
        if bad := tuple(n for n, f in c.facts.items() if f.nonfinite):
            yield Fault("nonfinite", (c.revision,), "values that are NaN or infinite", bad)
        zeros = [n for n, f in c.facts.items() if f.zero and len(f.sample_N)]
        if bad := tuple(n for n in zeros if _wrongly_zero(series, place, n)):
            yield Fault("zero", (c.revision,), "every value is zero", bad)


def _wrongly_zero(series: Sequence[Audited], place: int, name: str) -> bool:
    before = [c.facts[name].zero for c in series[:place]]
    never_else = all(c.facts[name].zero for c in series)
    matrix = len(series[place].facts[name].shape) > 1
    return not all(before) or (matrix and never_else and place == len(series) - 1)


# ---- equal tensors


def _may_rest(facts: TensorFacts) -> bool:
    """Whether a tensor may stand still by rounding: vectors in half precision do."""
    return not len(facts.sample_N) or (len(facts.shape) < 2 and facts.dtype != "float32") or facts.zero


def _mixed(series: Sequence[Audited]) -> Iterator[Fault]:
    """Some tensors are those of another checkpoint: of a later or far one, or many of the one before."""
    for place, c in enumerate(series):
        for other in range(len(series)):
            if other == place:
                continue
            low, high = sorted((place, other))
            same = [
                n
                for n, f in c.facts.items()
                if f.digest == series[other].facts[n].digest and not _may_rest(f) and any(moves(series, n))
            ]
            away = [n for n in same if any(moves(series, n)[low:high])]
            next_to = [n for n in same if high - low == 1 and other < place and _rests_once(series, n, place)]
            taken = away if high - low > 1 else next_to if len(next_to) > 1 else []
            if taken and _intruder(series, place, other, taken):
                words = f"{len(taken)} of {len(c.facts)} tensors are those of {series[other].revision}"
                yield Fault("mixed", (c.revision, series[other].revision), words, tuple(taken))
                break


def _rests_once(series: Sequence[Audited], name: str, place: int) -> bool:
    moved = moves(series, name)
    return not moved[place - 1] and sum(not m for m in moved) == 1


def _intruder(series: Sequence[Audited], place: int, other: int, names: Sequence[str]) -> bool:
    """Whether of two checkpoints that share tensors it is the first that holds those of the other.

    The one whose neighbours are nearer to the shared values owns them; of two next to each other it is the earlier one.
    """
    if abs(place - other) == 1:
        return True

    def nearest(at: int) -> float:
        beside = [series[i] for i in (at - 1, at + 1) if 0 <= i < len(series)]
        return sum(min(distance(series[at].facts[n], c.facts[n]) for c in beside) for n in names)

    return nearest(place) > nearest(other)


def _still(series: Sequence[Audited]) -> Iterator[Fault]:
    """Tensors that don't change where others do."""
    if len(series) < 3:
        return
    names = list(series[0].facts)
    moved = {n: moves(series, n) for n in names}
    for step in range(len(series) - 1):
        resting = [n for n in names if not moved[n][step] and not _may_rest(series[step].facts[n])]
        never = [n for n in resting if not any(moved[n])]
        halted = tuple(n for n in resting if any(moved[n]))
        if halted and any(m[step] for m in moved.values()):
            yield Fault("still", (series[step + 1].revision,), f"unchanged since {series[step].revision}", halted)
        matrices = tuple(n for n in never if len(series[0].facts[n].shape) > 1)
        if step == 0 and matrices and len(matrices) < len(names) / 2:
            yield Fault("still", (series[0].revision, series[-1].revision), "never changes", matrices)


# ---- the trend


def _foreign(series: Sequence[Audited]) -> Iterator[Fault]:
    """Checkpoints most of whose tensors jump: weights of another step or another run."""
    names = trending(series)
    detours = detours_over(series, names)
    if not detours.size:
        return
    typical_C = np.nanmedian(detours, axis=1)
    usual = float(np.nanmedian(typical_C))
    for place, typical in enumerate(typical_C, start=1):
        if typical > DETOUR * usual and typical == max(typical_C[max(place - 2, 0) : place + 1]):
            words = f"all of it lies {typical:.0f} times off the way between its neighbours"
            yield Fault("foreign", (series[place].revision,), words)


def _descent(series: Sequence[Audited]) -> Iterator[Fault]:
    """A checkpoint that is as unlike the one before it as independent draws are."""
    for before, after in pairwise(series):
        z = [
            relation(before.facts[n], f)
            for n, f in after.facts.items()
            if len(f.shape) > 1 and len(f.sample_N) >= SMALLEST and np.ptp(before.facts[n].sample_N) > 0
        ]
        z = [v for v in z if np.isfinite(v)]
        if z and sum(z) / np.sqrt(len(z)) < RELATED:
            words = f"it is not trained from {before.revision}: their matrices are unrelated"
            yield Fault("descent", (before.revision, after.revision), words)


def _jumps(series: Sequence[Audited]) -> Iterator[Fault]:
    """Tensors that leave the way of their neighbours in time while the other tensors don't."""
    names = trending(series)
    detours = detours_over(series, names)
    if not detours.size:
        return
    for place, row in enumerate(off_the_way(detours), start=1):
        if row.any():
            jumped = tuple(n for n, o in zip(names, row, strict=True) if o)
            words = f"off the way from {series[place - 1].revision} to {series[place + 1].revision}"
            yield Fault("jump", (series[place].revision,), words, jumped)
    yield from _ends(series, names)


def _ends(series: Sequence[Audited], names: Sequence[str]) -> Iterator[Fault]:
    """Jumps of the last checkpoint, and tensors of the first that the second wasn't trained from."""
    steps = np.array([[distance(a.facts[n], b.facts[n]) for n in names] for a, b in pairwise(series)])
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = steps / np.nanmedian(steps, axis=1, keepdims=True)
        ratio = relative[-1] / np.nanmax(relative[:-1], axis=0)
    if far := tuple(n for n, r in zip(names, ratio, strict=True) if r > LAST_JUMP):
        yield Fault("jump", (series[-1].revision,), f"a far way from {series[-2].revision}", far)
    first, second = series[0], series[1]
    matrices = [n for n in names if len(first.facts[n].shape) > 1 and np.ptp(first.facts[n].sample_N) > 0]
    if alien := tuple(n for n in matrices if relation(first.facts[n], second.facts[n]) < RELATED):
        yield Fault("jump", (first.revision,), f"unrelated to those of {second.revision}", alien)
