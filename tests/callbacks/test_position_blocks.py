"""Blocks of windows: their sums add up to the position table's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trajlab.analysis import load_runs
from trajlab.analysis.position_law import block_losses, position_losses
from trajlab.callbacks.position_blocks import PositionBlocks


def test_blocks_sum_to_the_positions_table(micro: Callable[..., Path]) -> None:
    runs = load_runs(micro("+callbacks.blocks={_target_: trajlab.callbacks.position_blocks.PositionBlocks, blocks: 3}"))
    blocks, positions = block_losses(runs.table("position_blocks")), position_losses(runs.positions)
    assert blocks.windows_B.tolist() == [3, 3, 2]
    np.testing.assert_array_equal(blocks.tokens_K, positions.tokens_K)
    np.testing.assert_allclose(blocks.nll_KBP.sum(1) / 8, positions.loss_KP, rtol=1e-12)


def test_one_block_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        PositionBlocks(blocks=1)
