"""Losses by position out of stored tables, and a bootstrap over blocks of windows.

Shapes: K checkpoints, P positions, B blocks, R bootstrap replicates. Losses in nats per token.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trajlab.analysis.position_law.fit import fit_position_law


@dataclass(frozen=True)
class PositionLosses:
    """One run, variant and split of table `positions` as arrays."""

    tokens_K: np.ndarray
    positions_P: np.ndarray
    loss_KP: np.ndarray
    count_KP: np.ndarray
    variance_KP: np.ndarray
    """Squared standard errors from the spread over windows as if these were independent; where windows overlap, they are too small
    (those of `bootstrap_errors` are not)."""


def position_losses(positions: pd.DataFrame) -> PositionLosses:
    """Losses by checkpoint and position. Raises ValueError where the frame holds more than one run, variant or split."""
    _one_of_each(positions, ("experiment", "run", "variant", "split"))
    columns = ["nll_sum", "nll_sq_sum", "count"]
    wide = positions.pivot_table(index="tokens", columns="position", values=columns, aggfunc="sum")
    sum_KP, square_KP, count_KP = (wide[c].to_numpy(float) for c in columns)
    loss_KP = sum_KP / count_KP
    spread_KP = np.maximum(square_KP / count_KP - loss_KP**2, 0) / np.maximum(count_KP - 1, 1)
    positions_P = wide["nll_sum"].columns.to_numpy(float)
    return PositionLosses(wide.index.to_numpy(float), positions_P, loss_KP, count_KP, spread_KP)


@dataclass(frozen=True)
class BlockLosses:
    """One run, variant and split of table `position_blocks` as arrays."""

    tokens_K: np.ndarray
    nll_KBP: np.ndarray
    windows_B: np.ndarray


def block_losses(blocks: pd.DataFrame) -> BlockLosses:
    """Sums by checkpoint, block and position. Raises ValueError where the frame holds more than one run, variant or split."""
    _one_of_each(blocks, ("experiment", "run", "variant", "split"))
    ordered = blocks.sort_values(["tokens", "block"])
    tokens_K = ordered["tokens"].unique().astype(float)
    nll_KBP = np.stack(ordered["nll_sum"].to_list()).reshape(len(tokens_K), -1, len(ordered["nll_sum"].iloc[0]))
    return BlockLosses(tokens_K, nll_KBP, ordered["windows"].to_numpy(float)[: nll_KBP.shape[1]])


def resample(blocks: BlockLosses, replicates: int = 200, seed: int = 0) -> Iterator[np.ndarray]:
    """Losses (K, P) under draws of blocks with replacement; in one draw the same blocks at every checkpoint."""
    rng = np.random.default_rng(seed)
    count = len(blocks.windows_B)
    for _ in range(replicates):
        times_B = np.bincount(rng.integers(count, size=count), minlength=count)
        yield np.einsum("b,kbp->kp", times_B, blocks.nll_KBP) / (times_B @ blocks.windows_B)


def bootstrap_errors(blocks: BlockLosses, replicates: int = 200, seed: int = 0) -> np.ndarray:
    """Standard errors (K, 3) of a0, a1 and a2 over a bootstrap of blocks; flagged fits of a replicate don't count."""
    draws_R = []
    for loss_KP in resample(blocks, replicates, seed):
        law = fit_position_law(loss_KP)
        values_K3 = np.stack([law.a0_K, law.a1_K, law.a2_K], 1)
        draws_R.append(np.where(law.ok_K[:, None], values_K3, np.nan))
    draws_RK3 = np.stack(draws_R)
    enough_K3 = np.isfinite(draws_RK3).sum(0) >= max(2, replicates // 2)
    spread_K3 = np.full(enough_K3.shape, np.nan)
    spread_K3[enough_K3] = np.nanstd(draws_RK3[:, enough_K3], axis=0, ddof=1)
    return spread_K3


def _one_of_each(frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    for column in columns:
        if column in frame and len(frame[column].unique()) > 1:
            raise ValueError(
                f"the rows hold several values of {column}: {', '.join(map(str, frame[column].unique()[:5]))}"
            )
