"""Prices, the best interval and stopping rules on curves whose answers are plain."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.diminishing_returns import best_interval, returns, stop_here, stopping_summary


def frame(curves: list[list[float]], every: int = 500_000) -> pd.DataFrame:
    rows = [
        {
            "run": f"seed={s}",
            "seed": s,
            "interval": t,
            "tokens": every * t,
            "loss": y,
            "seconds_train": 1800.0 if t else np.nan,
        }
        for s, curve in enumerate(curves)
        for t, y in enumerate(curve)
    ]
    return pd.DataFrame(rows)


def test_the_price_of_each_interval() -> None:
    table = returns(frame([[5.0, 4.0, 3.5, 3.7], [5.0, 4.2, 3.5, 3.7]]), parameters=1_000_000)
    np.testing.assert_allclose(table["bought"].iloc[1:], [0.9, 0.6, -0.2])
    np.testing.assert_allclose(table["per_million_tokens"].iloc[1:], [1.8, 1.2, -0.4])
    np.testing.assert_allclose(table["per_hour"].iloc[1:], [1.8, 1.2, -0.4])
    exaflops = 6 * 1e6 * 5e5 / 1e18
    np.testing.assert_allclose(table["per_exaflop"].iloc[1:], np.array([0.9, 0.6, -0.2]) / exaflops)
    assert table["bought"].sum() == pytest.approx(table["bought_total"].iloc[-1]) == pytest.approx(1.3)
    assert table["share_of_tokens"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert returns(frame([[5.0, 4.0]]))["per_exaflop"].isna().all()


def test_the_best_interval_and_how_sure_its_place_is() -> None:
    sure = best_interval(frame([[5.0, 4.0, 3.0, 3.5, 4.0]] * 4))
    assert (sure.interval, sure.interval_low, sure.interval_high, sure.share_after) == (2, 2, 2, 0.5)
    split = best_interval(frame([[5.0, 3.0, 3.5, 3.1], [5.0, 3.4, 3.5, 2.9], [5.0, 3.0, 3.5, 3.2]]))
    assert split.per_seed == (1, 3, 1)
    assert (split.interval_low, split.interval_high) == (1, 3)
    one = best_interval(frame([[5.0, 4.0, 4.5]]))
    assert (one.interval, one.interval_low, one.interval_high) == (1, 1, 1)


def test_the_bootstrap_of_the_place_is_reproducible() -> None:
    rng = np.random.default_rng(0)
    noisy = frame((np.linspace(1, -1, 11) ** 2 + 0.3 * rng.standard_normal((6, 11))).tolist())
    assert best_interval(noisy, seed=4) == best_interval(noisy, seed=4)


def test_stopping_rules_and_their_regret() -> None:
    curve = [5.0, 4.0, 3.0, 3.1, 2.9, 3.5, 4.0]
    stops = stop_here(frame([curve])).set_index("criterion")
    first = stops.loc["first backslide"]
    assert (first["interval"], first["regret"], first["kept_regret"]) == (3, pytest.approx(0.2), pytest.approx(0.1))
    assert first["tokens_after_best"] == -500_000
    assert not stops.loc["stable phase", "fired"]
    assert not stops.loc["backslide beyond 2 se", "fired"]  # no windows: nothing is known
    whole = stops.loc["whole budget"]
    assert (whole["interval"], whole["regret"], whole["kept_regret"]) == (6, pytest.approx(1.1), 0)


def test_the_stable_phase_stops_at_its_third_interval() -> None:
    stops = stop_here(frame([[3.0] * 8, [3.0] * 8]))
    stable = stops[stops["criterion"] == "stable phase"]
    assert stable["interval"].tolist() == [3, 3]
    summary = stopping_summary(stops).set_index("criterion")
    assert summary.loc["stable phase", "fired"] == 1
    assert summary.loc["whole budget", "interval"] == 7


def test_a_hole_is_an_error() -> None:
    whole = frame([[5.0, 4.0, 3.0], [5.0, 4.0, 3.0]])
    with pytest.raises(ValueError, match="missing"):
        best_interval(whole.drop(index=4))


def test_variants_are_kept_apart() -> None:
    """An average falls where raw rises: merged, one would have stopped at the other's turn."""
    raw, average = frame([[5.0, 4.0, 3.0, 3.5]]), frame([[5.0, 4.2, 3.1, 2.9]])
    both = pd.concat([raw.assign(variant="raw"), average.assign(variant="lawa5")])
    with pytest.raises(ValueError, match="variant holds lawa5, raw"):
        stop_here(both)
    with pytest.raises(ValueError, match="variant holds lawa5, raw"):
        best_interval(both)


@pytest.mark.parametrize("asked", [best_interval, returns])
def test_other_tokens_at_one_interval_are_not_averaged(asked: Callable[[pd.DataFrame], object]) -> None:
    table = frame([[5.0, 4.0, 3.0], [5.0, 4.0, 3.0]])
    table.loc[4, "tokens"] += 250_000
    with pytest.raises(ValueError, match="interval 1 .*align"):
        asked(table)
