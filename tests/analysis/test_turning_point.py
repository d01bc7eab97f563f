"""Where training turns: planted turns, flat curves, and the place of the minimum."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.turning_point import turning_point

COLUMNS = ("loss", "interval", "seed")


def long(y_SK: np.ndarray) -> pd.DataFrame:
    n, k = y_SK.shape
    seeds, intervals = np.repeat(np.arange(n), k), np.tile(np.arange(k), n)
    return pd.DataFrame({"seed": seeds, "interval": intervals, "loss": y_SK.ravel()})


def test_a_planted_turn_is_found_and_measured() -> None:
    curve_K = np.array([8.0, 4.0, 3.0, 2.8, 3.3, 3.9])
    turn = turning_point(long(curve_K + 0.02 * np.random.default_rng(0).standard_normal((6, 6))), *COLUMNS)
    assert (turn.best, turn.confidence_set) == (3, (3,))
    assert turn.p <= 0.05
    assert turn.fall == pytest.approx(5.2, abs=0.05)
    assert turn.rise == pytest.approx(1.1, abs=0.05)
    assert turn.rise_low < turn.rise < turn.rise_high


@pytest.mark.parametrize("noise", ["white", "walk"])
def test_flat_curves_turn_in_at_most_five_percent(noise: str) -> None:
    """Choosing the lowest interval and testing it on the same seeds declared 6 to 16 %."""
    rng, turns, covered = np.random.default_rng(1), 0, 0
    for _ in range(200):
        y_SK = rng.standard_normal((6, 8))
        turn = turning_point(long(y_SK if noise == "white" else y_SK.cumsum(1)), *COLUMNS)
        turns += turn.p <= 0.05
        covered += 4 in turn.confidence_set
    assert turns <= 16
    assert covered >= 180


def test_a_fall_alone_is_no_turn() -> None:
    y_SK = np.linspace(3, 2, 8) + 0.02 * np.random.default_rng(2).standard_normal((6, 8))
    turn = turning_point(long(y_SK), *COLUMNS)
    assert turn.p_fall <= 0.05 < turn.p


def test_four_seeds_cannot_declare_a_turn() -> None:
    y_SK = np.array([3.0, 1.0, 2.0]) + 0.01 * np.random.default_rng(3).standard_normal((4, 3))
    turn = turning_point(long(y_SK), *COLUMNS)
    assert turn.p == 1 / 16
    assert turn.confidence_set == (0, 1, 2)
