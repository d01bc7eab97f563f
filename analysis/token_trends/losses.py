"""Losses of tokens along checkpoints, checked, and cut at the checkpoint where a trend is to start.

Shapes: M tokens, C checkpoints. Losses in nats.
"""

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray


def nll_matrix(tokens: pd.DataFrame) -> tuple[NDArray[np.float64], pd.DataFrame]:
    """Losses (M, C) and the checkpoints (interval, tokens, step) of one run and variant of the table `tokens`.

    Raises ValueError where a probe token lacks a checkpoint or has two: a trend over a hole would be another trend. A
    checkpoint with a loss that is not finite is left out, with a warning: its weights are broken, the others are not.
    """
    tokens = _finite(tokens)
    wide = tokens.pivot_table(index="probe", columns="interval", values="nll", aggfunc=["first", "size"])
    counts = wide["size"].to_numpy()
    if not (counts == 1).all():
        probe, interval = np.argwhere(counts != 1)[0]
        rows = int(np.nan_to_num(counts[probe, interval]))
        raise ValueError(_HOLE.format(probe=wide.index[probe], interval=wide["size"].columns[interval], rows=rows))
    keep = [c for c in ("interval", "tokens", "step") if c in tokens]
    marks = tokens[keep].drop_duplicates("interval").sort_values("interval", ignore_index=True)
    return wide["first"].to_numpy(), marks


def streamed_nll_matrix(batches: Iterable[pa.RecordBatch]) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """`nll_matrix` of rows that come a few at a time (`StoredTables.batches`), equal to it; for tables of any length.

    Columns of the batches: probe, interval, nll and, where there, tokens and step. Memory: twice the matrix, 8 bytes per
    token × checkpoint.
    """
    columns: dict[int, _Column] = {}
    marks: dict[int, dict[str, int]] = {}
    for batch in batches:
        interval_N, probe_N, nll_N = (
            batch.column(c).to_numpy(zero_copy_only=False) for c in ("interval", "probe", "nll")
        )
        for interval in np.unique(interval_N):
            rows = interval_N == interval
            columns.setdefault(int(interval), _Column()).add(probe_N[rows], nll_N[rows])
            first = int(rows.argmax())
            places = [c for c in ("interval", "tokens", "step") if c in batch.schema.names]
            marks.setdefault(int(interval), {c: batch.column(c)[first].as_py() for c in places})
    kept = {i: columns[i] for i in sorted(columns) if columns[i].finite}
    if bad := [marks[i] for i in sorted(columns) if i not in kept]:
        named = ", ".join(f"step {m['step']}" if "step" in m else f"interval {m['interval']}" for m in bad)
        warnings.warn(f"table tokens: {named} left out: no finite loss on some probe token", stacklevel=2)
    probes = max((len(c.count) for c in kept.values()), default=0)
    held = np.zeros(probes, bool)
    for column in kept.values():
        held[: len(column.count)] |= column.count > 0
    nll_MC = np.empty((int(held.sum()), len(kept)), np.float32)
    for place, (interval, column) in enumerate(kept.items()):
        column.refuse_holes(interval, held)
        nll_MC[:, place] = column.nll[: len(held)][held]
        columns.pop(interval)
        column.nll = np.empty(0, np.float32)
    return nll_MC, pd.DataFrame([marks[i] for i in kept])


class _Column:
    """The losses of one checkpoint by probe, as they come."""

    def __init__(self) -> None:
        self.nll, self.count, self.finite = np.empty(0, np.float32), np.zeros(0, np.int32), True

    def add(self, probe_N: NDArray[np.int64], nll_N: NDArray[np.float32]) -> None:
        """Rows of this checkpoint."""
        if (more := int(probe_N.max()) + 1 - len(self.nll)) > 0:
            self.nll = np.concatenate([self.nll, np.full(more, np.nan, np.float32)])
            self.count = np.concatenate([self.count, np.zeros(more, np.int32)])
        self.nll[probe_N] = nll_N
        self.count += np.bincount(probe_N, minlength=len(self.count)).astype(np.int32)
        self.finite = self.finite and bool(np.isfinite(nll_N).all())

    def refuse_holes(self, interval: int, held: NDArray[np.bool_]) -> None:
        """Raise ValueError where a probe that other checkpoints have is missing, or is there twice."""
        count = np.zeros(len(held), np.int32)
        count[: len(self.count)] = self.count
        if (wrong := held & (count != 1)).any():
            probe = int(wrong.argmax())
            raise ValueError(_HOLE.format(probe=probe, interval=interval, rows=count[probe]))
        if len(self.nll) < len(held):
            self.nll = np.concatenate([self.nll, np.full(len(held) - len(self.nll), np.nan, np.float32)])


_HOLE = (
    "table tokens: probe {probe} at interval {interval} has {rows} rows, expected one; evaluate that checkpoint again"
)


def _finite(tokens: pd.DataFrame) -> pd.DataFrame:
    """The rows of checkpoints all of whose losses are finite."""
    bad = tokens.loc[~np.isfinite(tokens["nll"]), "interval"].unique()
    if not len(bad):
        return tokens
    rows = tokens[tokens["interval"].isin(bad)]
    named = ", ".join(f"step {s}" for s in rows["step"].unique()) if "step" in rows else f"intervals {sorted(bad)}"
    warnings.warn(f"table tokens: {named} left out: no finite loss on some probe token", stacklevel=3)
    return tokens[~tokens["interval"].isin(bad)]


def checked_losses(nll_MC: ArrayLike, at_C: ArrayLike | None) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    """Losses (M, C) in the precision they came in, and where the checkpoints lie: ``at_C``, or their index.

    Raises ValueError for another shape and for places that do not increase.
    """
    nll = np.asarray(nll_MC)
    if nll.dtype.kind != "f":
        nll = nll.astype(np.float64)
    if nll.ndim != 2:
        raise ValueError(f"nll_MC has shape {nll.shape}: expected tokens × checkpoints")
    at = np.arange(nll.shape[1], dtype=float) if at_C is None else np.asarray(at_C, dtype=float)
    if at.shape != (nll.shape[1],) or not (np.diff(at) > 0).all():
        raise ValueError(f"at_C has shape {at.shape}: expected {nll.shape[1]} increasing values, one per checkpoint")
    return nll, at


def start_column(start: int | float, at_C: NDArray[np.float64]) -> int:
    """The checkpoint meant by ``start``: itself, or the one nearest to that fraction of the way to the last."""
    if isinstance(start, int | np.integer):
        column = int(start)
    elif 0 <= start < 1:
        column = int(np.argmin(np.abs(at_C - start * at_C[-1])))
    else:
        raise ValueError(f"start={start}: a float is a fraction of training under 1; write {int(start)} for a column")
    if not 0 <= column < len(at_C):
        raise ValueError(f"start={start}: there are {len(at_C)} checkpoints, so a column is 0 to {len(at_C) - 1}")
    return column


def losses_from(nll_MC: ArrayLike, start: int | float, at_C: ArrayLike | None) -> NDArray[np.floating]:
    """Losses from the checkpoint ``start`` on; ValueError where fewer than three are left."""
    nll, at = checked_losses(nll_MC, at_C)
    nll = nll[:, start_column(start, at) :]
    if nll.shape[1] < 3:
        raise ValueError(f"start={start} leaves {nll.shape[1]} checkpoints: a trend needs three or more")
    return nll
