"""Runs that leave the law: planted turns, and curves that keep to it."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis import forecast
from trajlab.analysis.forecasting.departure import Departure


def run(turn: float, n: int, rows: int = 24, seed: int = 0) -> tuple[pd.DataFrame, float]:
    """A cosine run whose loss rises by ``turn`` nats from its middle to its end, the first ``n`` losses seen; its end."""
    step = np.arange(1, rows + 1) * 50_000.0
    share = step / step[-1]
    loss = 2.5 + 2.0 * (share / share[0]) ** -0.5 + turn * np.clip(2 * share - 1, 0, None)
    loss = loss + np.random.default_rng(seed).normal(0, 0.005, rows)
    lr = 1e-3 * (0.55 + 0.45 * np.cos(np.pi * share))
    frame = pd.DataFrame({"curve": "a", "step": step, "loss": loss, "lr": lr})
    frame.loc[n:, "loss"] = np.nan
    return frame, float(loss[-1])


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_turns_is_followed_and_its_end_is_in_the_band(seed: int) -> None:
    seen, end = run(turn=1.0, n=16, seed=seed)
    made = forecast(seen).table.iloc[-1]
    assert made["forecast"] > seen["loss"].dropna().iloc[-1] > seen["loss"].min()  # the rise goes on
    assert made["low"] < end < made["high"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [8, 12, 18])
def test_a_run_that_keeps_to_the_law_is_forecast_as_before(n: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = run(turn=0.0, n=n, seed=seed)
    made = forecast(seen).table
    monkeypatch.setattr(Departure, "of", classmethod(lambda cls, *_: cls()))
    pd.testing.assert_frame_equal(made, forecast(seen).table)


def test_a_departure_goes_as_far_again_and_no_farther() -> None:
    step_L = np.array([60.0, 70.0, 80.0])
    left = Departure.of(step_L, np.array([0.1, 0.2, 0.3]), bound=0.25, start=50.0)
    assert (left.error, left.steps) == (0.3, 30.0)  # the last third: one of three
    mean_M, spread_M = left.followed(np.full(3, 2.0), np.full(3, 0.01), np.array([15.0, 30.0, 300.0]), reach=2.0)
    np.testing.assert_allclose(mean_M, [2.15, 2.3, 2.3])
    np.testing.assert_allclose(spread_M, np.hypot(0.01, [0.075, 0.15, 0.15]))
    assert Departure.of(step_L, np.array([0.1, 0.2, 0.3]), bound=0.31, start=50.0) == Departure()
    assert Departure.of(step_L, np.array([-0.1, -0.2, -0.3]), bound=0.25, start=50.0).error == -0.3
