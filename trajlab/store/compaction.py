"""Many small parts in a few large ones, and back: a finished run needn't be hundreds of files.

`compact` joins the parts of a table that have the same suffix and the same columns. Which part each row was in stands in
the file's metadata, so `expand` gives back the very parts, for whoever wants to write the run again. Both write all parts
anew beside the old ones and then let the folders change places (`trajlab.store.renumber`).
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trajlab.errors import UserError
from trajlab.files import publish
from trajlab.store import layout
from trajlab.store.broken import readable
from trajlab.store.renumber import NEW, put_in_place, start_anew

PARTS = b"trajlab.parts"
"""Key of a joined part's metadata: number and rows of each part that it was made of, in order."""
ROW_GROUP = 1 << 17
"""Rows that are collected before they are written: small enough for filters to skip most, large enough to be fast."""


def compact(run: Path) -> tuple[int, int]:
    """Join a run's parts; how many files there were, and are. Raises UserError where a part can't be read.

    What is written is read again and compared before it takes its place.
    """
    before = layout.parts(run)
    groups = _groups(before)
    if len(groups) == len(before):
        return len(before), len(before)
    start_anew(run)
    for name, parts in groups.items():
        path = run / NEW / name
        publish(path, lambda p, parts=parts: _join(parts, p))  # type: ignore[misc]
        _compare(path, parts)
    put_in_place(run)
    return len(before), len(groups)


def expand(run: Path) -> None:
    """Give a run its own parts back; nothing happens to one that was never compacted."""
    parts = layout.parts(run)
    if not any(_made_of(part) for part in parts):
        return
    start_anew(run)
    for part in parts:
        for number, rows in _split(part):
            path = layout.part_path(run, part.parent.name, number, layout.part_suffix(part))
            publish(run / NEW / path.parent.name / path.name, lambda p, rows=rows: pq.write_table(rows, p))  # type: ignore[misc]
    put_in_place(run)


def _groups(parts: Sequence[Path]) -> dict[Path, list[Path]]:
    """The parts that become one, by the path below the folder of tables that it gets."""
    groups: dict[Path, list[Path]] = {}
    for (table, suffix), alike in groupby(sorted(parts, key=_kind), _kind):
        by_schema: dict[str, list[Path]] = {}
        for part in alike:
            by_schema.setdefault(str(_schema(part)), []).append(part)
        for number, same in enumerate(by_schema.values()):
            groups[layout.part_path(Path(), table, number, suffix).relative_to(layout.METRICS)] = same
    return groups


def _kind(part: Path) -> tuple[str, str]:
    return part.parent.name, layout.part_suffix(part)


def _schema(part: Path) -> pa.Schema:
    with readable(part):
        schema = pq.read_schema(part)
    return schema.with_metadata({k: v for k, v in (schema.metadata or {}).items() if k != PARTS} or None)


def _join(parts: Sequence[Path], path: Path) -> None:
    """Write the rows of the parts, one after the other, into one file; a part of a joined one keeps its number."""
    schema = _schema(parts[0])
    made_of: list[tuple[int, int]] = []
    with pq.ParquetWriter(path, schema) as writer:
        waiting: list[pa.Table] = []
        for part in parts:
            for number, rows in _split(part):
                made_of.append((number, len(rows)))
                waiting.append(rows)
            if sum(map(len, waiting)) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
        writer.add_key_value_metadata({PARTS.decode(): json.dumps(made_of)})


def _compare(joined: Path, parts: Sequence[Path]) -> None:
    """Raise UserError where a joined file isn't what it was made of: the disk lost something."""
    expected = (rows for part in parts for rows in _split(part))
    for (number, found), (wanted, rows) in zip(_split(joined), expected, strict=True):
        if number != wanted or not found.equals(rows):
            raise UserError(
                f"{joined} doesn't hold what was written to it; check the disk. The run is as it was before"
            )


def _made_of(part: Path) -> list[tuple[int, int]]:
    with readable(part):
        metadata = pq.read_metadata(part).metadata or {}
        return [(int(n), int(rows)) for n, rows in json.loads(metadata[PARTS])] if PARTS in metadata else []


def _split(part: Path) -> Iterator[tuple[int, pa.Table]]:
    """Number and rows of each part that a part was made of; of one that was never joined, its own."""
    with readable(part), pq.ParquetFile(part) as file:
        schema = _schema(part)
        made_of = _made_of(part) or [(layout.part_interval(part), file.metadata.num_rows)]
        batches = (file.read_row_group(i) for i in range(file.num_row_groups))
        held = schema.empty_table()
        for number, count in made_of:
            while len(held) < count:
                if (more := next(batches, None)) is None:
                    raise UserError(f"{part} lacks rows that its own list of parts names; restore it from a copy")
                held = pa.concat_tables([held, more.cast(schema)])
            yield number, held.slice(0, count).combine_chunks()
            held = held.slice(count)
