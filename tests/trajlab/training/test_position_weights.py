"""Position weighting of the training loss: which positions, which config, and what it changes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trajlab.analysis import load_runs
from trajlab.errors import ConfigProblems
from trajlab.evaluation.nll import mean_loss
from trajlab.training.position_weights import position_weights


@pytest.mark.parametrize(
    ("weighting", "scaled"), [("head", range(10)), ("body", range(10, 90)), ("tail", range(90, 100))]
)
def test_which_positions_are_scaled(weighting: str, scaled: range) -> None:
    weights_T = position_weights(100, weighting, 0.5)
    assert weights_T is not None
    expected = np.where(np.isin(np.arange(100), scaled), 0.5, 1.0)
    np.testing.assert_array_equal(weights_T.numpy(), expected)


def test_none_keeps_the_plain_arithmetic() -> None:
    assert position_weights(100, "none", 0.5) is None


def test_the_weighted_loss_is_the_weighted_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden_BTD, head_VD = torch.randn(2, 10, 4, generator=generator), torch.randn(7, 4, generator=generator)
    targets_BT = torch.randint(7, (2, 10), generator=generator)
    weights_T = position_weights(10, "head", 0.5)
    assert weights_T is not None
    nll_BT = -(hidden_BTD @ head_VD.T).log_softmax(-1).gather(-1, targets_BT[..., None])[..., 0]
    expected = (nll_BT * weights_T).sum() / (2 * weights_T.sum())
    assert float(mean_loss(hidden_BTD, head_VD, targets_BT, weights_T.expand(2, -1))) == pytest.approx(float(expected))


def test_weighting_changes_training_and_factor_one_does_not(micro: Callable[..., Path]) -> None:
    def final(*overrides: str) -> float:
        return float(load_runs(micro(*overrides, runs=f"runs{len(overrides)}")).intervals["loss"].iloc[-1])

    plain, tail = final(), final("loss.position_weighting=tail")
    assert tail != plain
    assert final("loss.position_weighting=tail", "loss.position_factor=1.0") == pytest.approx(plain, rel=1e-5)


def test_an_unknown_weighting_names_the_choices(micro: Callable[..., Path]) -> None:
    with pytest.raises(ConfigProblems, match="none, head, body, tail"):
        micro("loss.position_weighting=middle")
