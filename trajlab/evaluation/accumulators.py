"""Sums that several consumers keep over an evaluation, as torchmetrics metrics: they reduce over processes by themselves.

Sums are float64: at 10⁵ tokens float32 loses the digits that a paired comparison of intervals needs.
Shapes: B windows, T positions.
"""

import torch
from torch import Tensor
from torchmetrics import Metric


class PositionSums(Metric):
    """Σ nll, Σ nll² and tokens at each position of the context, shape (T,)."""

    nll_sum_T: Tensor
    nll_sq_sum_T: Tensor
    count_T: Tensor

    def __init__(self, context: int) -> None:
        super().__init__()
        self.add_state("nll_sum_T", torch.zeros(context, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("nll_sq_sum_T", torch.zeros(context, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count_T", torch.zeros(context, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, nll_BT: Tensor, mask_BT: Tensor) -> None:
        """Add a batch of windows. Raises ValueError when its context is another length."""
        if nll_BT.shape[1] != len(self.count_T):
            raise ValueError(f"windows of {nll_BT.shape[1]} positions after windows of {len(self.count_T)}")
        nll = nll_BT.double() * mask_BT
        self.nll_sum_T += nll.sum(0)
        self.nll_sq_sum_T += (nll * nll).sum(0)
        self.count_T += mask_BT.sum(0)

    def compute(self) -> dict[str, Tensor]:
        """The sums by position."""
        return {"nll_sum": self.nll_sum_T, "nll_sq_sum": self.nll_sq_sum_T, "count": self.count_T}
