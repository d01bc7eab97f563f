"""Loss by position within blocks of neighbouring windows: what a bootstrap over documents resamples."""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch import distributed as dist

from trajlab.evaluation.context import RunMember
from trajlab.protocols import Interval
from trajlab.store.tables import POSITION_BLOCKS


class PositionBlocks(RunMember):
    """Sums of nll at each position over each of ``blocks`` runs of neighbouring windows (docs/methods.md §3).

    Overlapping windows repeat tokens, so single windows are no sample; a block of neighbours nearly is. Rows go to table
    `position_blocks`: ``nll_sum`` lists the positions' sums in nats, ``windows`` how many each sums.
    """

    table = "position_blocks"

    def __init__(self, blocks: int = 16, splits: list[str] | None = None) -> None:
        if blocks < 2:
            raise ValueError(f"blocks must be at least 2, got {blocks}")
        self.blocks = blocks
        self.splits = splits
        """Splits that are recorded; None: all."""
        self._nll_BT: list[Tensor] = []
        self._split = ""

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        """Forget the former windows."""
        self._nll_BT, self._split = [], split

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        """Keep a batch's losses: 4 bytes a token until the split is done."""
        if self.splits is None or self._split in self.splits:
            self._nll_BT.append(nll_BT * mask_BT)

    def rows(self) -> pa.Table:
        """One row per block; none for a split that is not recorded."""
        if not self._nll_BT:
            return POSITION_BLOCKS.measured.empty_table()
        nll_WT = _gathered(torch.cat(self._nll_BT)).double().numpy()
        pieces = [p for p in np.array_split(nll_WT, self.blocks) if len(p)]
        rows = [
            {
                "block": i,
                "windows": len(piece_WT),
                "nll_sum": piece_WT.sum(0).tolist(),
            }
            for i, piece_WT in enumerate(pieces)
        ]
        return pa.Table.from_pylist(rows, schema=POSITION_BLOCKS.measured)


def _gathered(nll_WT: Tensor) -> Tensor:
    """All processes' windows in order; each holds a contiguous share."""
    if not (dist.is_available() and dist.is_initialized()):
        return nll_WT
    shares: list[Tensor] = [torch.empty(0)] * dist.get_world_size()
    dist.all_gather_object(shares, nll_WT)
    return torch.cat(shares)
