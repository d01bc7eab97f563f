"""A separator that a model never saw between documents is said, one that it knows isn't."""

from math import log

import pytest
import torch

from trajlab.evaluation.separator_cost import SeparatorCost
from trajlab.protocols import Interval

WHERE = Interval(0, 0, 0, 0)
TOKENS_BT = torch.tensor([[5, 6, 0, 7], [8, 0, 9, 9]])
MASK_BT = torch.tensor([[True, True, True, True], [True, True, True, False]])


def _said(separator: float, other: float, variant: str = "raw", id_: int | None = 0) -> list[str]:
    cost = SeparatorCost({"valid": id_}, vocab_size=1000)
    cost.begin(WHERE, variant, "valid")
    nll_BT = torch.where(TOKENS_BT == 0, separator, other)
    nll_BT[1, 3] = 1e6  # doesn't count
    cost.update(nll_BT, MASK_BT, TOKENS_BT)
    assert cost.rows().num_rows == 0
    return cost.warnings()


def test_a_separator_that_costs_more_than_a_guess_is_said() -> None:
    [words] = _said(26.0, 1.5)
    assert "costs 26.0 nats each, more than a token drawn at random (6.9), and adds 7.000 nats per token" in words
    assert "evaluation.separator=bos, none" in words


@pytest.mark.parametrize(
    ("separator", "other", "variant", "id_"),
    [
        (log(1000) - 0.1, 1.5, "raw", 0),  # dear, but learned
        (12.0, 9.0, "raw", 0),  # the model knows nothing yet
        (26.0, 1.5, "lawa5", 0),  # the raw weights say it
        (26.0, 1.5, "raw", None),  # no separator of the kind
    ],
)
def test_nothing_is_said_of_a_separator_that_is_known(
    separator: float, other: float, variant: str, id_: int | None
) -> None:
    assert _said(separator, other, variant, id_) == []
