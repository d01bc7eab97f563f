"""The complete grid: every (subject, level) exactly once and finite, or an error that names the cells.

A library that drops a seed with a hole or averages a duplicate answers another question than the one asked. Every
repeated-measures function of this package starts here.
"""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SHOWN = 5
"""Cells named in an error before the rest is counted."""


def complete_grid(
    frame: pd.DataFrame, dv: str, within: str, subject: str, *, min_subjects: int = 2, min_levels: int = 2
) -> pd.DataFrame:
    """Subjects × levels, both sorted, from a long frame (docs/methods.md §2).

    Raises KeyError for a missing column; ValueError for a hole, a duplicate, a value that is not finite, no variance at
    all, or too few subjects or levels. Sortable labels of any kind work, words in the order of the numbers in them; a categorical keeps its own order and its unused
    categories are no levels.
    """
    _require_columns(frame, dv, within, subject)
    cells = frame[[subject, within, dv]]
    _refuse(cells[cells[[subject, within]].isna().any(axis=1)], "without a label", subject, within, dv)
    _refuse(
        cells[cells.duplicated([subject, within], keep=False)], "more than once: keep one of each", subject, within, dv
    )
    values = pd.to_numeric(cells[dv], errors="coerce").astype(float)
    _refuse(cells[~np.isfinite(values)], "with a value that is not finite: drop or rerun the run", subject, within, dv)
    grid = cells.assign(**{dv: values}).pivot(index=subject, columns=within, values=dv)  # noqa: PD010 - never averages
    grid = grid.sort_index(axis=0, key=_natural).sort_index(axis=1, key=_natural)
    _refuse_holes(grid, subject, within)
    _require_size(grid, subject, within, min_subjects, min_levels)
    return grid


def _natural(labels: pd.Index) -> pd.Index:
    """Words in the order of the numbers in them ("9" before "20"); other labels as they are."""
    if labels.dtype != object and not pd.api.types.is_string_dtype(labels.dtype):
        return labels
    if not all(isinstance(label, str) for label in labels):
        return labels
    pieces = [[(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", label)] for label in labels]
    rank = {i: place for place, i in enumerate(sorted(range(len(pieces)), key=pieces.__getitem__))}
    return pd.Index([rank[i] for i in range(len(pieces))])


def _require_columns(frame: pd.DataFrame, *columns: str) -> None:
    missing = [c for c in columns if c not in frame]
    if missing:
        raise KeyError(f"no column {', '.join(missing)} in the frame; it has {', '.join(map(str, frame.columns))}")


def _refuse(bad: pd.DataFrame, what: str, subject: str, within: str, dv: str) -> None:
    if bad.empty:
        return
    cells = [f"({subject}={s}, {within}={w}): {v}" for s, w, v in bad.itertuples(index=False)]
    raise ValueError(f"{len(bad)} cells of {dv} {what}: {_some(cells)}")


def _refuse_holes(grid: pd.DataFrame, subject: str, within: str) -> None:
    rows, columns = np.nonzero(grid.isna().to_numpy())
    if len(rows):
        cells = [f"({subject}={grid.index[r]}, {within}={grid.columns[c]})" for r, c in zip(rows, columns, strict=True)]
        raise ValueError(
            f"{len(cells)} cells are missing: {_some(cells)}; finish the run, or leave out the {subject} or the "
            f"{within} yourself, for all"
        )


def _require_size(grid: pd.DataFrame, subject: str, within: str, min_subjects: int, min_levels: int) -> None:
    n, k = grid.shape
    if n < min_subjects:
        raise ValueError(f"{n} {subject}: this needs at least {min_subjects}; run more seeds")
    if k < min_levels:
        raise ValueError(f"{k} {within}: this needs at least {min_levels}")


def _some(cells: list[str]) -> str:
    rest = len(cells) - SHOWN
    return ", ".join(cells[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def refuse_constant(grid: pd.DataFrame) -> None:
    """Raise ValueError where the curves don't differ between subjects, up to rounding: no F exists then."""
    y_SK = grid.to_numpy()
    residual_SK = y_SK - y_SK.mean(1, keepdims=True) - y_SK.mean(0) + y_SK.mean()
    rounding = (64 * np.finfo(float).eps) ** 2 * np.square(y_SK).sum()
    if np.square(residual_SK).sum() <= rounding:
        raise ValueError(
            "no error variance: the curves are the same for every subject up to a constant; are these runs of one seed, "
            "or constant data?"
        )


def long_frame(y_SK: NDArray[np.float64]) -> pd.DataFrame:
    """Columns subject, within, dv of a complete grid: a row per cell, subjects and levels numbered from 0."""
    n, k = y_SK.shape
    return pd.DataFrame({"subject": np.repeat(np.arange(n), k), "within": np.tile(np.arange(k), n), "dv": y_SK.ravel()})
