"""The writer's schemas, the reader's expectations and docs/tables.md say the same, column by column."""

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import ROOT
from trajlab.analysis import tables as reader
from trajlab.protocols import Interval
from trajlab.store import layout
from trajlab.store.run_store import RunStore
from trajlab.store.tables import TABLES

Columns = dict[str, dict[str, str]]
TEXT = (ROOT / "docs" / "tables.md").read_text()


def schemas() -> Columns:
    return {name: {f.name: str(f.type) for f in table.stored} for name, table in TABLES.items()}


def documented() -> Columns:
    """Tables of the document's second part, each with the columns that its first table gives to all."""
    shared, *sections = re.split(r"^## ", TEXT.split("\n# Tables\n")[1], flags=re.M)
    everywhere = dict(rows(shared))
    return {s.split("`")[1]: everywhere | dict(rows(s)) for s in sections if s.startswith("`")}


def rows(text: str) -> Iterator[tuple[str, str]]:
    for names, kind in re.findall(r"^\| (`[^|]*`) \| ([^|]+) \|", text, flags=re.M):
        kind = kind.replace("&lt;", "<").replace("&gt;", ">").replace("<double>", "<item: double>")
        kind = kind.replace("<int64>", "<item: int64>")
        yield from ((name, kind) for name in re.findall(r"`(\w+)`", names))


def test_the_reader_expects_what_is_written() -> None:
    assert {n: dict(c) for n, c in reader.COLUMNS.items()} == schemas()
    assert reader.FORMAT == layout.FORMAT


def test_the_document_lists_each_table_column_and_type_and_no_other() -> None:
    assert documented() == schemas()


def test_the_document_lists_each_key_of_the_manifest_and_no_other() -> None:
    section = TEXT.split("\n## The manifest\n")[1].split("\n`study`, `model`")[0]
    keys = [k for line in re.findall(r"^\| (`[^|]*`) \|", section, flags=re.M) for k in re.findall(r"`(\w+)`", line)]
    assert sorted(keys) == sorted(layout.MANIFEST_KEYS)


def test_the_document_names_the_paths() -> None:
    for name in (layout.MANIFEST, layout.CONFIG, str(layout.CHECKPOINT), layout.PROVENANCE):
        assert f"`{name}`" in TEXT
    for folder in (layout.METRICS, layout.SNAPSHOTS, layout.AVERAGES):
        assert f"`{folder}/" in TEXT


def test_the_store_writes_each_table_as_its_schema_says(tmp_path) -> None:
    store = RunStore(tmp_path, "study", "seed=0", 0)
    for table in TABLES.values():
        nulls = pa.table([pa.array([None], f.type) for f in table.rows], schema=table.rows)
        store.write(table.name, Interval(3, 10, 12, 4), nulls)
        (part,) = layout.parts(tmp_path, table.name)
        assert pq.read_schema(part).remove_metadata() == table.stored, table.name
