"""Tables of stored runs, each read when it is first asked for.

`StoredTables` is a mapping from a table's name to its frame, of some runs and, after `where`, of some rows. What is too
large for a frame is read piece by piece (`batches`) or handed to DuckDB (`paths`).
"""

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trajlab.analysis.selection import choices, holds
from trajlab.analysis.tables import COLUMNS, ORDER, ORDER_OF, as_expected

WHOSE, WHICH = ("experiment", "run"), ("variant", "split")
"""Without these columns nobody knows whose rows a part holds; losses also need which weights on which split."""
PART = re.compile(r"part-\d{5,}(\..+)?\.parquet")
"""The parts of a table, as `trajlab.store.layout` names them; whatever else lies in a table's folder is nobody's."""
BATCH_ROWS = 1 << 18
"""Rows of a large part that are in memory at once."""


@dataclass(frozen=True)
class StoredRun:
    """A run's manifest and the parts of its tables, which have not been read."""

    manifest: dict[str, Any]
    parts: dict[str, list[Path]]

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> "StoredRun":
        """What lies in the folder that the manifest was read from."""
        run = cls(manifest, {})
        run.look()
        return run

    def look(self) -> None:
        """List the parts anew: a run may go on, or be compacted, after it was opened."""
        self.parts.clear()
        for part in sorted((Path(self.manifest["folder"]) / "metrics").glob("*/part-*.parquet")):
            if PART.fullmatch(part.name) and part.is_file():
                self.parts.setdefault(part.parent.name, []).append(part)

    def present(self, table: str) -> list[Path]:
        """The parts of a table, as they lie there now."""
        if not all(p.exists() for p in self.parts.get(table, ())):
            self.look()
        return self.parts.get(table, [])

    @property
    def key(self) -> tuple[str, str]:
        """Experiment and run."""
        return self.manifest["experiment"], self.manifest["run"]

    @property
    def count(self) -> int:
        """Parts of all its tables."""
        return sum(map(len, self.parts.values()))

    def check(self) -> None:
        """Raise ValueError for the first part that is broken or whose columns can't be those of its table."""
        for table, parts in self.parts.items():
            for part in parts:
                schema = _opened(part).schema_arrow
                if all(COLUMNS.get(table, {}).get(f.name, str(f.type)) == str(f.type) for f in schema):
                    _checked(table, part, schema.empty_table())
                else:
                    read_part(table, part)  # whether another type will do is seen by its values


@dataclass
class Broken:
    """What comes to light while tables are read."""

    problems: list[str]
    """A sentence for each run that can't be read."""
    manifests: list[dict[str, Any]]
    """Of the runs that can; one that turns out not to be is removed."""
    keys: set[tuple[str, str]] = field(default_factory=set)
    """Experiment and run of those that were removed."""

    def add(self, run: StoredRun, error: ValueError) -> None:
        """Leave a run out from now on, and say so."""
        self.keys.add(run.key)
        self.problems.append(str(error))
        self.manifests[:] = [m for m in self.manifests if m is not run.manifest]
        warnings.warn(f"left out: {error}", stacklevel=2)


Finish = Callable[[str, pd.DataFrame], pd.DataFrame]
"""What is done to a frame when it has been read."""


class StoredTables(MutableMapping[str, pd.DataFrame]):
    """Frames by table, read at first use."""

    def __init__(
        self, runs: Sequence[StoredRun], broken: Broken, finish: Finish, equal: Mapping[str, Any] | None = None
    ) -> None:
        self._runs, self._broken, self._finish = list(runs), broken, finish
        self._equal = dict(equal or {})
        self._frames: dict[str, pd.DataFrame] = {}
        self._without: set[tuple[str, str]] = set()
        self._names = sorted({name for run in runs for name in run.parts})

    def __getitem__(self, table: str) -> pd.DataFrame:
        if table not in self._names:
            raise KeyError(table)
        if table not in self._frames:
            self._frames[table] = self._read(table)
        if gone := self._broken.keys - self._without:
            self._frames = {name: rows_without(f, gone) for name, f in self._frames.items()}
            self._without |= gone
        return self._frames[table]

    def __setitem__(self, table: str, frame: pd.DataFrame) -> None:
        self._frames[table] = frame
        self._names = sorted({*self._names, table})

    def __delitem__(self, table: str) -> None:
        self._names.remove(table)
        self._frames.pop(table, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, table: object) -> bool:
        return table in self._names  # the mapping's own answer would read it

    def __len__(self) -> int:
        return len(self._names)

    def rows(self, table: str) -> int | None:
        """Rows of a table that has been read; of another one nobody knows without reading it."""
        return len(self._frames[table]) if table in self._frames else None

    def where(self, keep: Callable[[StoredRun], bool], equal: Mapping[str, Any]) -> "StoredTables":
        """The tables of the runs to keep, and of their rows those with these values; nothing is read for it."""
        found = StoredTables(list(filter(keep, self._runs)), self._broken, self._finish, {**self._equal, **equal})
        keys = {run.key for run in found._runs}
        gone = {run.key for run in self._runs} - keys
        for name, frame in self._frames.items():
            found[name] = _equal_rows(rows_without(frame, gone), equal)
        return found

    def paths(self, table: str) -> list[Path]:
        """The parts of a table, in the order of runs and intervals."""
        return [part for run in self._left() for part in run.present(table)]

    def batches(self, table: str, columns: Sequence[str], **equal: Any) -> Iterator[pa.RecordBatch]:
        """The columns of the rows with these values, a few at a time: for tables that are too large for a frame."""
        wanted = {**self._equal, **equal}
        for run in self._left():
            if all(run.manifest.get(k) == v for k, v in wanted.items() if k in WHOSE):
                for part in run.present(table):
                    yield from _batches(table, part, columns, {k: v for k, v in wanted.items() if k not in WHOSE})

    @property
    def equal(self) -> Mapping[str, Any]:
        """The values that rows are selected by."""
        return self._equal

    def _left(self) -> list[StoredRun]:
        return [run for run in self._runs if run.key not in self._broken.keys]

    def _read(self, table: str) -> pd.DataFrame:
        parts: list[pa.Table] = []
        for run in self._left():
            try:
                parts += [_equal_table(read_part(table, p), self._equal) for p in run.present(table)]
            except ValueError as e:
                self._broken.add(run, e)
                parts = [p for p in parts if not _of_run(p, run)]
        return self._finish(table, _frame(table, parts)) if parts else pd.DataFrame()


def rows_without(frame: pd.DataFrame, runs: Collection[tuple[str, str]]) -> pd.DataFrame:
    """All rows but those of these runs, each named by its experiment and its run."""
    if not runs or not {"experiment", "run"} <= set(frame):
        return frame
    gone = pd.MultiIndex.from_frame(frame[["experiment", "run"]]).isin(list(runs))
    return frame[~gone].reset_index(drop=True)


def read_part(table: str, path: Path) -> pa.Table:
    """A part with its columns in their types. Raises ValueError, naming it, where it is broken or lacks a column."""
    file = _opened(path)  # read_table goes through a data set, which costs five times as much
    try:
        rows = file.read(use_threads=False)  # a part is small: threads would cost more than they save
    except (pa.ArrowException, OSError) as e:
        raise ValueError(f"{path}: {str(e).splitlines()[0]}") from e
    return _checked(table, path, rows)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as e:
        raise ValueError(f"{path}: {str(e).splitlines()[0]}") from e


def _checked(table: str, path: Path, rows: pa.Table) -> pa.Table:
    try:
        rows = as_expected(table, rows)
    except ValueError as e:
        raise ValueError(f"{path}: {str(e).splitlines()[0]}") from e
    known = COLUMNS.get(table, {})
    needed: tuple[str, ...] = () if not known else WHOSE + WHICH if "variant" in known else WHOSE
    if absent := [column for column in needed if column not in rows.column_names]:
        raise ValueError(f"{path}: it lacks the column {absent[0]}; restore it, or remove the run's folder")
    return rows


def _batches(table: str, path: Path, columns: Sequence[str], equal: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
    file = _opened(path)
    present = set(file.schema_arrow.names)
    filters = {k: v for k, v in equal.items() if k in present}
    wanted = [c for c in columns if c in present]
    for batch in file.iter_batches(BATCH_ROWS, columns=[*wanted, *(k for k in filters if k not in wanted)]):
        rows = _equal_table(as_expected(table, pa.Table.from_batches([batch])), filters)
        yield from rows.select(wanted).to_batches()


def _equal_table(rows: pa.Table, equal: Mapping[str, Any]) -> pa.Table:
    for column, value in equal.items():
        if column in rows.column_names:
            rows = rows.filter(reduce(pc.or_kleene, [pc.equal(rows[column], pa.scalar(v)) for v in choices(value)]))
    return rows


def _equal_rows(frame: pd.DataFrame, equal: Mapping[str, Any]) -> pd.DataFrame:
    for column, value in equal.items():
        if column in frame:
            frame = frame[holds(frame[column], value)]
    return frame.reset_index(drop=True)


def _of_run(rows: pa.Table, run: StoredRun) -> bool:
    whose = [rows[c][0].as_py() if c in rows.column_names and len(rows) else None for c in WHOSE]
    return tuple(whose) == run.key


def _frame(table: str, parts: Sequence[pa.Table]) -> pd.DataFrame:
    frame = pa.concat_tables(parts, promote_options="default").to_pandas()
    keys = [c for c in ORDER_OF.get(table, ORDER) if c in frame]
    return frame.sort_values(keys, kind="stable", ignore_index=True)
