"""Averages over a series of checkpoint files, tensor by tensor and slice by slice.

`average_series` reads every checkpoint once and writes all averages of the series in the same pass: a slice of a tensor
goes through the whole series before the next one. Memory is one slice a snapshot of the window, whatever the model's
size. The arithmetic is that of `trajlab.averaging`, so an average over files equals the one kept along training.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO, cast

from torch import Tensor

from trajlab.averaging import Rule
from trajlab.averaging.provenance import provenance, refuse_other_content, same_averages, stored_provenance
from trajlab.checkpoints.slices import (
    CheckpointFiles,
    Entry,
    copy_layout,
    first_difference,
    read_slice,
    slices,
    write_slice,
)
from trajlab.errors import UserError
from trajlab.files import publish, publish_json, remove_replaced, set_aside
from trajlab.store.layout import PROVENANCE

SLICE = 1 << 15
"""Elements in memory of each snapshot in the window: few enough to stay in the cache, and not more than torch works on
in one thread; with two, on a busy machine, the threads' waiting for each other cost forty times the arithmetic."""

NEWEST = ("*running_mean", "*running_var", "*num_batches_tracked")
"""Names of buffers, which are taken from the newest checkpoint as integer tensors are: they follow the weights."""


@dataclass(frozen=True)
class Point:
    """One checkpoint of the series and where its average goes, if anywhere."""

    label: str
    source: CheckpointFiles
    target: CheckpointFiles | None


def average_series(
    series: Iterable[tuple[str, Path]],
    rule: Rule,
    folder: Path,
    *,
    name: str,
    last_only: bool = False,
    newest: Sequence[str] = NEWEST,
    origin: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write ``folder/<label>`` for every checkpoint: the average of the series up to it, in the checkpoint's own format.

    ``series`` gives labels and paths, oldest first: safetensors files, or folders with one or with shards and their
    index (whose other files are copied along). A window is shorter at the series' start; ``last_only`` writes the last
    average alone. Integer tensors and those whose names match ``newest`` are taken from the newest checkpoint; a tensor
    that is stored under two names stays the same under both. Values are rounded once, to the checkpoints' precision.
    ``folder/provenance.json`` says what each average is made of, with ``origin`` as given.

    A folder that holds these averages already is left as it is; with ``overwrite`` it, or other averages of the same
    name, are replaced once the new ones stand.

    Returns the averages' paths by label. Raises UserError where the series is empty, where two checkpoints differ in
    names, shapes or types (the first difference is named) and where the folder holds anything else.
    """
    sources = [(label, CheckpointFiles(path)) for label, path in series]
    _check(sources, folder)
    first_needed = next(i for i, w in enumerate(rule.weights(len(sources))) if w) if last_only else 0
    sources = sources[first_needed:]
    record = provenance(sources, rule, name, last_only, newest, origin)
    if overwrite or not same_averages(folder, record, sources):
        _write(folder, sources, rule, newest, record, overwrite)
    labels = [label for label, _ in sources]
    return {label: folder / label for label in (labels[-1:] if last_only else labels)}


def _check(sources: list[tuple[str, CheckpointFiles]], folder: Path) -> None:
    if not sources:
        raise UserError(f"{folder}: the series has no checkpoint to average")
    _, reference = sources[0]
    for _, files in sources[1:]:
        if difference := first_difference(reference, files):
            raise UserError(f"the checkpoints can't be averaged: {difference}")


def _write(
    folder: Path,
    sources: list[tuple[str, CheckpointFiles]],
    rule: Rule,
    newest: Sequence[str],
    record: dict[str, Any],
    overwrite: bool,
) -> None:
    name = record["variant"]
    if folder.exists() and not overwrite:
        raise UserError(
            f"{folder} exists already and holds something else; give another place or variant=…, or overwrite=true where "
            f"it holds averages named {name}"
        )
    if folder.exists():
        refuse_other_content(folder, name)
        set_aside(folder)
    publish(folder, lambda temporary: _fill(temporary, sources, rule, newest, record))
    remove_replaced(folder, lambda aside: (stored_provenance(aside) or {}).get("variant") == name)


def _fill(
    folder: Path, sources: list[tuple[str, CheckpointFiles]], rule: Rule, newest: Sequence[str], record: dict[str, Any]
) -> None:
    folder.mkdir(parents=True)
    points = []
    for label, source in sources:
        metadata = {"averaged": record["variant"], "newest_source": label}
        target = copy_layout(source, folder / label, metadata) if label in record["averages"] else None
        points.append(Point(label, source, target))
    for tensor, entry in sources[0][1].entries.items():
        kept = not entry.dtype.is_floating_point or any(fnmatch(tensor, pattern) for pattern in newest)
        _average_tensor(points, tensor, None if kept else rule)
    publish_json(folder / PROVENANCE, record)


def _average_tensor(points: list[Point], name: str, rule: Rule | None) -> None:
    """One tensor through the whole series; without a rule every target gets its own checkpoint's."""
    with ExitStack() as stack:

        def opened(entry: Entry, mode: str) -> BinaryIO:
            return cast(BinaryIO, stack.enter_context(entry.file.open(mode, buffering=0)))

        readers = [(p.source.entries[name], opened(p.source.entries[name], "rb")) for p in points]
        targets = [p.target.entries[name] if p.target else None for p in points]
        writers = [(entry, opened(entry, "r+b")) if entry else None for entry in targets]
        for start, stop in slices(readers[0][0].numel, SLICE):
            running = rule.start() if rule else None
            for (entry, reader), writer in zip(readers, writers, strict=True):
                x = _averageable(read_slice(reader, entry, start, stop))
                if running:
                    running.push(x)
                if writer:
                    write_slice(writer[1], writer[0], start, running.value() if running else x)


def _averageable(x: Tensor) -> Tensor:
    """Eight-bit floats have no arithmetic of their own."""
    return x.float() if x.dtype.is_floating_point and x.dtype.itemsize == 1 else x
