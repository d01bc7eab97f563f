"""The default forecast: planted laws, leakage, cooldowns not yet seen, thin evidence."""

import time

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis import forecast
from trajlab.analysis.forecasting.calibration import Situation, calibrate
from trajlab.analysis.forecasting.decisions import decide, probability_under
from trajlab.analysis.forecasting.default import Outlook, outlook

STEPS = np.arange(1, 251) * 200.0


def cooldown(share: float = 0.2, peak: float = 1e-3) -> np.ndarray:
    """A constant rate with a linear fall to zero over the last share."""
    return peak * np.clip((STEPS[-1] - STEPS) / (share * STEPS[-1]), 0, 1)


def planted(lr: np.ndarray, gain: float, seed: int = 0) -> np.ndarray:
    """A loss whose noise floor follows the rate with a lag, by its own recursion: not the default's formula."""
    rate, state, floor = lr / lr.max(), 1.0, []
    for u, gap in zip(rate, np.diff(STEPS, prepend=0), strict=True):
        state += (u - state) * (1 - np.exp(-gap * max(u, 0.1) / 800))
        floor.append(gain * state)
    area = np.cumsum(rate) * 200
    return 2.6 + 12 * area**-0.45 + np.array(floor) + np.random.default_rng(seed).normal(0, 1e-3, len(STEPS))


def test_a_planted_power_law_is_recovered_and_named():
    loss = 2 + 9 * STEPS**-0.3
    o = outlook(STEPS[:100], loss[:100], STEPS[100:], None)
    assert np.abs(o.loss_M - loss[100:]).max() < 1e-3
    assert o.laws.set_index("law").loc["power", "weight"] > 0.9
    assert o.laws.set_index("law").loc["logarithmic", "refused"]


@pytest.mark.parametrize(("peak", "gain"), [(5e-4, 0.21), (1e-3, 0.26), (2e-3, 0.30)])
def test_a_cooldown_is_forecast_before_any_of_it_was_seen(peak, gain):
    """The last value is off by 0.18 nats and more; other families' response brings it within the stated 0.06."""
    lr = cooldown(peak=peak)
    loss = planted(lr, gain)
    o = outlook(STEPS[:100], loss[:100], STEPS[100:], lr)
    assert loss[99] - loss[-1] > 0.15
    assert abs(o.loss_M[-1] - loss[-1]) < 0.06
    low_M, high_M = o.band()
    assert low_M[-1] < loss[-1] < high_M[-1]


def test_the_future_changes_no_bit_of_a_forecast():
    lr = cooldown()
    frame = pd.DataFrame({"curve": "a", "step": STEPS, "loss": planted(lr, 0.25), "lr": lr})
    frame.loc[100:, "loss"] = np.nan
    spoiled = planted(lr, 0.25)
    spoiled[100:] += 5
    direct = outlook(STEPS[:100], spoiled[:100], STEPS[100:], lr)
    made = forecast(frame)
    np.testing.assert_array_equal(made.table["forecast"], direct.loss_M)
    np.testing.assert_array_equal(made.table["low"], direct.band()[0])


def test_neither_the_unit_of_the_step_nor_that_of_the_rate_shape_matters():
    lr = cooldown()
    loss = planted(lr, 0.25)
    a = outlook(STEPS[:100], loss[:100], STEPS[100:], lr)
    b = outlook(STEPS[:100] * 5e5, loss[:100], STEPS[100:] * 5e5, lr)
    np.testing.assert_allclose(a.loss_M, b.loss_M, atol=2e-3)


def test_eight_points_are_enough_and_an_unknown_schedule_is_said():
    loss = planted(cooldown(), 0.25)
    made = forecast(pd.DataFrame({"curve": "a", "step": STEPS[:8], "loss": loss[:8]}), horizon=STEPS[-1])
    assert made.table["step"].tolist() == [STEPS[-1]]
    assert np.isfinite(made.table[["forecast", "low", "high"]].to_numpy()).all()
    assert not made.outlooks["a"].situation.known
    with pytest.raises(ValueError, match=r"curve 'a': .*not ahead"):
        forecast(pd.DataFrame({"curve": "a", "step": STEPS, "loss": loss}))


def test_a_forecast_of_five_hundred_points_takes_under_two_seconds():
    steps = np.arange(1, 501) * 100.0
    lr = 5e-4 * (1 + np.cos(np.pi * steps / steps[-1]))
    loss = 2.5 + 9 * steps**-0.3 + 60 * lr
    seconds = []
    for _ in range(3):
        start = time.thread_time()  # of this thread: idle threads of the linear algebra count as work in process_time
        outlook(steps[:300], loss[:300], steps[300:], lr)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 2


@pytest.mark.parametrize("shape", ["cycles", "restarts", "rising"])
def test_a_rate_that_comes_back_or_only_rises_is_no_warmup_without_end(shape):
    """Of ten losses none lies after the highest rate; of the cycle and the restarts a whole peak has been seen."""
    share = STEPS / STEPS[-1]
    rate = {
        "cycles": 0.1 + 0.9 * np.abs(np.sin(np.pi * (3 * share + 0.4))) + 1e-3 * share,
        "restarts": (0.55 + 0.45 * np.cos(np.pi * ((4 * share) % 1))) * (1 + 1e-3 * share),
        "rising": share,
    }[shape]
    loss = planted(1e-3 * rate, 0.25)
    chosen = np.arange(4, 250, 10)  # 25 rows
    o = outlook(STEPS[chosen[:10]], loss[chosen[:10]], STEPS[chosen[10:]], 1e-3 * rate[chosen])
    assert o.situation.known
    assert np.abs(o.loss_M - loss[chosen[10:]]).max() < loss[chosen[0]] - loss[chosen[9]]


@pytest.mark.parametrize("known", [True, False])
def test_a_band_is_no_narrower_than_the_noise_and_not_negative(known):
    rng = np.random.default_rng(3)
    lr = np.full(250, 1e-3)
    noisy = 2.6 + 12 * STEPS**-0.45 + rng.normal(0, 0.1, 250)
    low_M, high_M = outlook(STEPS[:200], noisy[:200], STEPS[200:], lr if known else None).band()
    assert (high_M - low_M).min() > 2 * 1.6 * 0.08
    assert ((noisy[200:] > low_M) & (noisy[200:] < high_M)).mean() > 0.8
    wild = rng.uniform(0.2, 6, 8)
    assert outlook(STEPS[:8], wild, STEPS[8:], lr if known else None).band()[0].min() >= 0


def test_a_decision_follows_the_forecast():
    lr = cooldown()
    loss = planted(lr, 0.25)
    o = outlook(STEPS[:100], loss[:100], STEPS[100:], lr)
    low_M, high_M = o.band()
    assert probability_under(o, low_M[-1]) == pytest.approx(0.05)
    assert probability_under(o, high_M[-1]) == pytest.approx(0.95)
    assert probability_under(o, low_M[-1] - 1) < 1e-3
    made = decide(STEPS[:100], loss[:100], STEPS[100:], lr, target=float(o.loss_M[-1]))
    assert 0.25 < made.reaches < 0.75
    assert made.reaches == probability_under(o, float(o.loss_M[-1]))
    assert made.bought == pytest.approx(loss[99] - o.loss_M[-1])
    assert made.cooldown is not None
    assert o.loss_M[-1] < made.cooldown < loss[99] - 0.1  # more tokens at the full rate are worth something


def test_a_probability_of_reaching_a_target_comes_true_as_often_as_it_says():
    """Errors of skewed shape, bands calibrated on 400 of 20 families, 4,000 new ones with targets all about.

    Within 0.06: straight lines between four quantiles miss a skewed curve by up to 0.03, 400 errors leave a standard error
    of 0.02, and the bands are pushed out by 1/20 for one more family. With the forecast as the median it was 0.10.
    """
    rng = np.random.default_rng(0)
    cell = {"known": True, "ahead": True, "bucket": 2, "family": rng.integers(0, 20, 400).astype(str)}
    here = Situation(0.4, True, True)
    quantiles_4 = calibrate(pd.DataFrame({"z": rng.gamma(2, 0.7, 400) - 1.4, **cell})).quantiles(here)
    o = Outlook(np.ones(1), np.full(1, 3.0), np.full(1, 0.05), quantiles_4, here, pd.DataFrame())
    came = 3 + 0.05 * (rng.gamma(2, 0.7, 4_000) - 1.4)
    target = 3 + 0.05 * rng.uniform(-2, 3, 4_000)
    said = np.array([probability_under(o, t) for t in target])
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1)):
        asked = (said >= low) & (said <= high)
        assert asked.sum() > 100
        assert (came <= target)[asked].mean() == pytest.approx(said[asked].mean(), abs=0.06)


def test_where_nobody_tells_the_rate_a_band_leaves_room_for_its_fall_however_well_a_law_fits():
    """An exact power law carries the forecast; a cooldown of 0.1 nats that no loss announces is in the band all the same."""
    loss = 2 + 9 * STEPS**-0.3
    o = outlook(STEPS[:100], loss[:100], STEPS[100:], None)
    assert o.laws.set_index("law").loc["power", "weight"] > 0.9
    (low_M, high_M), (low50_M, high50_M) = o.band(), o.band(0.5)
    assert low_M[-1] < loss[-1] - 0.1
    assert low_M[-1] < low50_M[-1] < o.loss_M[-1] < high50_M[-1] < high_M[-1]
