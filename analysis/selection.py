"""Rows by the values that they hold: one value, or one of several."""

import difflib
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import pandas as pd


def choices(value: Any) -> list[Any]:
    """What a row may hold where it is selected by ``value``: one of a list's values, or the value itself."""
    return (
        list(value) if isinstance(value, list | tuple | set | frozenset | range | np.ndarray | pd.Series) else [value]
    )


def holds(column: "pd.Series[Any]", value: Any) -> "pd.Series[bool]":
    """Which rows hold the value, or one of several."""
    return reduce(or_, [column == v for v in choices(value)])


def refuse_unknown(
    column: str, value: Any, tables: Mapping[str, pd.DataFrame], manifests: Sequence[Mapping[str, Any]]
) -> None:
    """Raise ValueError, with what there is, where no table and no manifest has the column, or none holds the value in it.

    Where manifests or table `intervals` hold it, no other table is read for it.
    """
    told = [m[column] for m in manifests if column in m]
    intervals = tables.get("intervals")
    if value in told or (intervals is not None and column in intervals and (intervals[column] == value).any()):
        return
    holders = [f[column] for f in tables.values() if column in f]
    if not holders and not told:
        names = sorted({str(c) for f in tables.values() for c in f} | {"experiment", "run", "seed", "status"})
        close = difflib.get_close_matches(column, names, 3)
        hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(names)}"
        raise ValueError(f"select({column}=…): no table has a column {column}; {hint}")
    if not any((h == value).any() for h in holders):
        present = {repr(v) for h in holders for v in h.dropna().unique()[:20]} | {repr(v) for v in told}
        raise ValueError(f"select({column}={value!r}) selects nothing; there are {', '.join(sorted(present)[:20])}")
