"""Losses of tokens along checkpoints, checked, and cut at the checkpoint where a trend is to start.

Shapes: M tokens, C checkpoints. Losses in nats.
"""

import warnings

import numpy as np
import pandas as pd
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
        raise ValueError(
            f"table tokens: probe {wide.index[probe]} at interval {wide['size'].columns[interval]} "
            f"has {np.nan_to_num(counts[probe, interval]):.0f} rows, expected one; evaluate that checkpoint again"
        )
    keep = [c for c in ("interval", "tokens", "step") if c in tokens]
    marks = tokens[keep].drop_duplicates("interval").sort_values("interval", ignore_index=True)
    return wide["first"].to_numpy(), marks


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
