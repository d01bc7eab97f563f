"""Areas and drops of a schedule, against sums written out step by step."""

import numpy as np
import pytest

from trajlab.analysis.curve_laws import MultiPowerLaw
from trajlab.analysis.curve_laws.curves import Curve
from trajlab.analysis.curve_laws.lr_path import MAX_DROPS, jumps, lr_path

PARAMS = {"L0": 2.7, "A": 0.6, "alpha": 0.45, "B": 450.0, "C": 2.0, "beta": 0.6, "gamma": 0.65}


def curve(step, lr):
    return Curve("a", np.asarray(step, float), np.full(len(step), np.nan), np.asarray(lr, float))


def written_out(lr_T, warmup_area, count_warmup=False, warmup_steps=400):
    """The multi-power law's sums as the paper prints them; ``lr_T[0]`` is the rate where the warm-up ends."""
    lr_T = np.asarray(lr_T)
    start = 0
    if count_warmup:
        lr_T = np.concatenate([np.linspace(0, lr_T[0], warmup_steps + 1)[:-1], lr_T])
        start = warmup_steps
    area_T = np.cumsum(lr_T) - lr_T[: start + 1].sum() + warmup_area
    loss = []
    for t in range(start, len(lr_T)):
        k = np.arange(1, t + 1)
        x = lr_T[k] ** -PARAMS["gamma"] * (area_T[t] - area_T[k - 1])
        gain = PARAMS["B"] * ((lr_T[k - 1] - lr_T[k]) * (1 - (PARAMS["C"] * x + 1) ** -PARAMS["beta"])).sum()
        loss.append(PARAMS["L0"] + PARAMS["A"] * area_T[t] ** -PARAMS["alpha"] - gain)
    return np.array(loss)


@pytest.mark.parametrize("count_warmup", [False, True])
def test_the_law_is_the_papers_sum(count_warmup):
    steps = np.arange(400, 801)
    lr = 3e-4 * np.where(steps < 600, 1, 0.995 ** (steps - 600))
    law = MultiPowerLaw(PARAMS, warmup_area=0.06, count_warmup=count_warmup)
    tolerance = 2e-4 if count_warmup else 1e-12  # the warm-up is summed in 16 parts
    np.testing.assert_allclose(law.predict(steps, lr), written_out(lr, 0.06, count_warmup), rtol=tolerance)


def test_few_rows_give_the_sum_over_all_steps():
    steps = np.arange(400, 4401)
    lr = 3e-5 + 2.7e-4 * (1 + np.cos(np.pi * (steps - 400) / 4000)) / 2
    law = MultiPowerLaw(PARAMS, warmup_area=0.06, count_warmup=False)
    rows = slice(None, None, 100)
    np.testing.assert_allclose(law.predict(steps[rows], lr[rows]), written_out(lr, 0.06)[rows], atol=3e-4)


def test_merging_many_drops_changes_little():
    steps = np.arange(400, 4401)
    lr = 3e-5 + 2.7e-4 * (1 + np.cos(np.pi * (steps - 400) / 4000)) / 2
    assert len(lr_path(curve(steps, lr)).drop_D) == MAX_DROPS
    law = MultiPowerLaw(PARAMS, warmup_area=0.06, count_warmup=False)
    np.testing.assert_allclose(law.predict(steps, lr), written_out(lr, 0.06), atol=3e-5)


def test_the_area_is_the_sum_of_rates():
    steps, lr = np.array([10, 13, 14, 20]), np.array([6.0, 3.0, 2.5, 0.0])
    path = lr_path(curve(steps, lr), warmup_area=0.0)
    every = np.interp(np.arange(11, 21), steps, lr)
    np.testing.assert_allclose(path.area_R - path.area_R[0], [0, *np.cumsum(every)[[2, 3, 9]]])
    assert path.drop_D.sum() == pytest.approx(6.0)


def test_the_warmup_is_what_comes_before_the_first_row():
    step, lr = [2176, 2304], [3e-4, 3e-4]
    assert lr_path(curve(step, lr), 0.324).area_R[0] == pytest.approx(0.324 + 16 * 3e-4)
    assert lr_path(curve(step, lr)).area_R[0] == pytest.approx(2176 * 3e-4 / 2)
    with pytest.raises(ValueError, match="warmup_area"):
        lr_path(curve(step, lr), -1.0)


def test_rows_of_a_warmup_count_as_area_only():
    steps = np.arange(1, 101)
    lr = np.minimum(steps / 50, 1) * 1e-3
    path = lr_path(curve(steps, lr))
    assert path.peak == 49
    assert not path.drop_D.size
    assert path.area_R[-1] == pytest.approx(lr.sum(), rel=0.02)


def test_a_jump_takes_place_at_its_row_and_a_ramp_in_between():
    step = np.array([0, 100, 200, 300, 400])
    assert jumps(step, np.array([1.0, 1.0, 0.2, 0.2, 0.2])).tolist() == [False, True, False, False]
    assert not jumps(step, np.array([1.0, 0.9, 0.7, 0.4, 0.1])).any()
    path = lr_path(curve(step, [1.0, 1.0, 0.2, 0.2, 0.2]), 0.0)
    assert path.area_R[2] - path.area_R[1] == pytest.approx(99 * 1.0 + 0.2)
    assert path.lr_D.tolist() == pytest.approx([0.2])


def test_steps_may_be_finer_than_one():
    """Time as a part of the run: areas still grow, and stay those of the rates."""
    part = np.linspace(0.1, 1, 200)
    path = lr_path(curve(part, 1.1 - part), 0.0)
    assert (np.diff(path.area_R[30:]) > 0).all()
    assert path.area_R[-1] - path.area_R[-100] == pytest.approx(np.trapezoid(1.1 - part[-100:], part[-100:]), rel=0.02)


def test_a_constant_schedule_and_a_single_row_have_no_drops():
    assert not lr_path(curve([10, 20], [1.0, 1.0])).drop_D.size
    assert not lr_path(curve([10], [1.0])).drop_D.size
