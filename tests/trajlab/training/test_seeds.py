"""seeds.init, seeds.order, seeds.dropout: each moves what it names, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trajlab.__main__ import command_line
from trajlab.analysis import load_runs
from trajlab.errors import UserError


def losses(folder: Path) -> np.ndarray:
    return load_runs(folder).intervals["loss"].to_numpy()


def test_each_seed_moves_its_own_purpose(micro: Callable[..., Path]) -> None:
    plain = losses(micro(runs="plain"))
    init, order = (losses(micro(f"seeds.{key}=7", runs=key)) for key in ("init", "order"))
    assert init[0] != plain[0], "other weights"
    assert order[0] == plain[0], "the same weights"
    assert (order[1:] != plain[1:]).all(), "in another order"
    np.testing.assert_array_equal(
        losses(micro("seeds.init=0", "seeds.order=0", "seeds.dropout=0", runs="x", seed=5).parent), plain
    )


def test_a_seed_below_zero_is_refused(micro: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"seeds.order"):
        micro("seeds.order=-1")


def test_one_command_names_a_crossed_design() -> None:
    line = command_line(["experiment=x", "seeds.init=0..2", "seeds.order=0..2", "-m"])
    assert line[-1] == "run_keys=[seed,seeds.init,seeds.order]"
    assert "seeds.init=0,1,2" in line
