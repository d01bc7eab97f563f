"""Stored tables as relations of DuckDB (the extra ``duckdb``), for tables that are too large for a frame."""

from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.dataset as ds

from trajlab.analysis.selection import choices
from trajlab.analysis.stored_tables import StoredTables

if TYPE_CHECKING:
    import duckdb

PATTERN = frozenset("*?[]{}")
"""Characters that DuckDB takes for a pattern in a file's name."""


def scan(
    tables: MutableMapping[str, pd.DataFrame], table: str, connection: "duckdb.DuckDBPyConnection | None" = None
) -> "duckdb.DuckDBPyRelation":
    """As `trajlab.analysis.load.Runs.scan` says."""
    try:
        import duckdb
    except ImportError as e:
        raise ImportError("scan needs DuckDB: pip install 'trajlab[duckdb]'") from e
    if not isinstance(tables, StoredTables):
        raise ValueError("scan reads stored runs; these were made of frames, which DuckDB takes as they are")
    if not (paths := tables.paths(table)):
        raise ValueError(f"scan({table!r}): no run has this table; there are {', '.join(tables)}")
    relation = _relation(connection or duckdb.connect(), paths)
    for column, value in tables.equal.items():
        if column in relation.columns:
            wanted = [duckdb.ConstantExpression(v) for v in choices(value)]
            relation = relation.filter(duckdb.ColumnExpression(column).isin(*wanted))
    return relation


def _relation(connection: "duckdb.DuckDBPyConnection", paths: Sequence[Path]) -> "duckdb.DuckDBPyRelation":
    """All parts in one; columns that some of them lack are null there."""
    if any(PATTERN & set(str(p)) for p in paths):
        return connection.from_arrow(ds.dataset([str(p) for p in paths], format="parquet"))
    return connection.read_parquet([str(p) for p in paths], union_by_name=True, hive_partitioning=False)
