"""Loss by position in the context."""

from typing import Any

import pyarrow as pa
from torch import Tensor

from trajlab.evaluation.accumulators import PositionSums
from trajlab.evaluation.context import RunMember
from trajlab.protocols import Interval
from trajlab.store.tables import POSITIONS


class PositionLoss(RunMember):
    """Sums of nll at each context position, per weight variant and split (docs/methods.md §3).

    Rows go to table `positions`: position is 1-based, nll in nats. Raises ValueError when two batches of one
    evaluation differ in context length.
    """

    table = "positions"

    def __init__(self, splits: list[str] | None = None) -> None:
        self.splits = splits
        """Splits that are recorded; None: all."""
        self._sums: PositionSums | None = None
        self._split = ""

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        """Start the sums of a variant on a split."""
        self._sums, self._split = None, split

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        """Add a batch."""
        if self.splits is not None and self._split not in self.splits:
            return
        if self._sums is None:
            self._sums = PositionSums(nll_BT.shape[1])
        self._sums.update(nll_BT, mask_BT)

    def rows(self) -> pa.Table:
        """One row per position; none for a split that is not recorded."""
        sums = {k: v.reshape(-1).numpy() for k, v in self._sums.compute().items()} if self._sums else {}
        positions = len(sums["count"]) if sums else 0
        columns: dict[str, Any] = {
            "position": range(1, positions + 1),
            **{name: sums.get(name, []) for name in ("nll_sum", "nll_sq_sum", "count")},
        }
        return pa.table([pa.array(columns[f.name], f.type) for f in POSITIONS.measured], schema=POSITIONS.measured)
