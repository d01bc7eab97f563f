"""What the separators between the documents of a stream cost, for a warning where a model never saw them there."""

from collections.abc import Mapping
from math import log

import pyarrow as pa
from torch import Tensor

from trajlab.evaluation.engine import RAW
from trajlab.protocols import Interval


class SeparatorCost:
    """A consumer without rows of its own: mean loss of a split's separators and of its other tokens, in nats.

    ``separator_ids`` are the ids by split, None where a split has none of the kind.
    """

    table = "separator_cost"

    def __init__(self, separator_ids: Mapping[str, int | None], vocab_size: int) -> None:
        self.separator_ids, self.vocab_size = separator_ids, vocab_size
        self._warnings: list[str] = []

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        """Forget the former evaluation."""
        self._split = split if variant == RAW else ""  # averages cost about the same
        self._nll = [0.0, 0.0]
        self._count = [0, 0]

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        """Add the counted tokens up, those between documents apart."""
        between = self.separator_ids.get(self._split)
        if between is None:
            return
        for place, chosen in enumerate((mask_BT & (tokens_BT == between), mask_BT & (tokens_BT != between))):
            self._nll[place] += float(nll_BT[chosen].double().sum())
            self._count[place] += int(chosen.sum())

    def rows(self) -> pa.Table:
        """Nothing; a separator that costs more than a token drawn at random is remembered (`warnings`)."""
        if min(self._count, default=0):
            self._judge(self._nll[0] / self._count[0], self._nll[1] / self._count[1])
        return pa.table({})

    def warnings(self) -> list[str]:
        """A sentence for each split evaluated since this was asked last whose separator costs too much."""
        found, self._warnings = self._warnings, []
        return found

    def _judge(self, separator: float, others: float) -> None:
        """ln V is what a model pays that knows nothing; a model that is above it everywhere says nothing of separators."""
        chance = log(self.vocab_size)
        if separator > chance > others:
            added = (separator - others) * self._count[0] / sum(self._count)
            self._warnings.append(
                f"split {self._split}: what stands between documents costs {separator:.1f} nats each, more than a token drawn "
                f"at random ({chance:.1f}), and adds {added:.3f} nats per token to the loss: the model didn't see it there in "
                "training. Write evaluation.separator=bos, none or the text that stood there, or evaluation.layout=documents"
            )
