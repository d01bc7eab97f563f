"""Curves as they come: spikes, gaps, few points, other units, things that are no curve."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.forecasting.test_default import STEPS, cooldown, planted
from trajlab.analysis import forecast
from trajlab.analysis.forecasting.default import outlook
from trajlab.analysis.forecasting.evidence import with_rates, without_spikes


@pytest.fixture
def curve() -> pd.DataFrame:
    """Seen for 40 %, the schedule known."""
    lr = cooldown()
    loss = planted(lr, 0.25)
    return pd.DataFrame({"curve": "a", "step": STEPS, "loss": np.where(STEPS[99] >= STEPS, loss, np.nan), "lr": lr})


def final(frame: pd.DataFrame, **keywords: float) -> tuple[float, float, float]:
    row = forecast(frame, **keywords).table.iloc[-1]
    return row["forecast"], row["low"], row["high"]


@pytest.mark.parametrize("where", [slice(50, 51), slice(97, 99), slice(99, 100), slice(50, 57)])
def test_a_spike_hardly_moves_the_forecast(curve, where):
    plain = final(curve)
    spiked = curve.assign(loss=curve["loss"].where(~curve.index.isin(curve.index[where]), 9.0))
    assert final(spiked) == pytest.approx(plain, abs=0.005)


def test_no_loss_that_falls_is_a_spike():
    falling = np.concatenate([[11.0, 7.0, 5.0], 3 + np.exp(-np.arange(50) / 10)])
    np.testing.assert_array_equal(without_spikes(falling, 1e-3), falling)


def test_a_lasting_rise_is_a_new_level_and_no_spike():
    kept = without_spikes(np.repeat([3.0, 4.0], 30), 1e-3)
    assert np.isnan(kept[30:38]).all()
    assert np.isfinite(kept[45:]).all()


def test_gaps_and_repeated_steps_hardly_move_the_forecast(curve):
    plain = final(curve)
    assert final(curve.drop(index=range(30, 60))) == pytest.approx(plain, abs=0.003)
    assert final(pd.concat([curve, curve.iloc[30:50]])) == pytest.approx(plain, abs=0.003)
    assert final(curve.sample(frac=1, random_state=0)) == plain
    assert final(curve.astype({"step": str})) == plain


@pytest.mark.parametrize("unit", [0.3, 100.0])
def test_a_forecast_of_another_unit_is_the_same_in_it(curve, unit):
    """Nats per byte, a perplexity: a loss far from 3 nats per token is scaled to it."""
    once, more = (np.array(final(curve.assign(loss=curve["loss"] * unit * by))) / (unit * by) for by in (1, 1.1))
    np.testing.assert_allclose(once, more, rtol=1e-6)
    assert once[1] < planted(cooldown(), 0.25)[-1] < once[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": np.inf}, "loss inf at step 10000"),
        ({"loss": -1.0}, "loss -1.0 at step 10000"),
        ({"loss": "n/a?"}, "column loss holds something that is no number"),
        ({"step": -200.0}, "steps must be finite and not negative"),
    ],
)
def test_what_is_no_curve_is_named(curve, change, said):
    broken = curve.astype(object)
    for column, value in change.items():
        broken.loc[49, column] = value
    with pytest.raises(ValueError, match=said):
        forecast(broken)


def test_a_frame_without_rows_or_losses_is_refused(curve):
    with pytest.raises(ValueError, match="no rows"):
        forecast(curve.iloc[:0])
    with pytest.raises(ValueError, match="no column loss"):
        forecast(curve.drop(columns="loss"))
    with pytest.raises(ValueError, match="horizon=nan"):
        forecast(curve, horizon=float("nan"))


@pytest.mark.parametrize("rate", [None, 0.0, 1e-3, np.nan, -1.0])
def test_eight_points_are_enough_whatever_the_rate(curve, rate):
    few = curve.iloc[::25].assign(loss=planted(cooldown(), 0.25)[::25]).reset_index(drop=True)
    few.loc[8:, "loss"] = np.nan
    few = few.drop(columns="lr") if rate is None else few.assign(lr=rate)
    assert np.isfinite(final(few)).all()
    o = outlook(few["step"].to_numpy()[:8], few["loss"].to_numpy()[:8], few["step"].to_numpy()[8:], None)
    assert not o.situation.known


def test_rates_logged_in_other_rows_than_losses_tell_the_schedule(curve):
    """As in an export of a logger; and a rate to come that is logged at every other row alone."""
    apart = pd.concat([curve.drop(columns="lr"), curve.drop(columns="loss").assign(step=curve["step"] - 50)])
    made = forecast(apart, horizon=STEPS[-1])
    assert made.outlooks["a"].situation.known
    assert made.table.iloc[-1]["forecast"] == pytest.approx(final(curve)[0], abs=0.005)
    holes = curve.assign(lr=curve["lr"].where(np.arange(250) % 3 != 1))
    assert final(holes) == pytest.approx(final(curve), abs=0.003)


def test_a_rate_that_is_nowhere_near_is_not_guessed(curve):
    seen_alone = curve.assign(lr=curve["lr"].where(curve["loss"].notna()))
    hole = curve.assign(lr=curve["lr"].where((0.3 * STEPS[-1] > STEPS) | (0.45 * STEPS[-1] < STEPS)))
    for frame in (seen_alone, hole, curve.assign(lr=curve["lr"].where(STEPS[0] == STEPS))):
        assert not forecast(frame).outlooks["a"].situation.known
    other = curve.assign(curve="b", lr=np.nan)
    made = forecast(pd.concat([curve, other]))
    assert (made.outlooks["a"].situation.known, made.outlooks["b"].situation.known) == (True, False)


def test_rates_are_filled_from_their_own_curve_in_any_order_of_rows():
    frame = pd.DataFrame({"curve": list("abab"), "step": [30.0, 30, 10, 10], "lr": [0.3, 9, 0.1, 9], "loss": 2.0})
    missing = pd.DataFrame({"curve": ["a", "b", "a"], "step": [20.0, 0, 40], "lr": np.nan, "loss": 2.0})
    filled = with_rates(pd.concat([frame, missing]).sample(frac=1, random_state=1))
    found = filled.set_index(["curve", "step"])["lr"]
    assert np.isnan(found["a", 20.0])  # its neighbours are farther apart than a tenth of the run
    assert found["b", 0.0] == 9
    assert found["a", 40.0] == 0.3
