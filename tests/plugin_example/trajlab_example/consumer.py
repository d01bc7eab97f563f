"""A loss consumer: it sees the loss of every validation token and answers with rows of its own table."""

import pyarrow as pa
from torch import Tensor

from trajlab.protocols import Interval


class Surprise:
    """The share of tokens whose loss is above ``nats``, per weight variant and split (table `surprise`)."""

    table = "surprise"

    def __init__(self, nats: float = 5.0) -> None:
        self.nats = nats

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        """Forget the former evaluation."""
        self.surprising = self.tokens = 0

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        """Count a batch; a token outside the mask does not count."""
        self.surprising += int(((nll_BT > self.nats) & mask_BT).sum())
        self.tokens += int(mask_BT.sum())

    def rows(self) -> pa.Table:
        """One row; the engine adds variant and split, the store adds the run and the interval."""
        return pa.table({"surprising": [self.surprising], "token_count": [self.tokens]})
