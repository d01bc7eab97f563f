"""The search for a better schedule."""

import numpy as np
import pytest

from trajlab.analysis.curve_laws import MultiPowerLaw, better_schedule
from trajlab.analysis.curve_laws.better_schedule import final_loss, usual_schedules

PARAMS = {"L0": 2.7, "A": 0.6, "alpha": 0.45, "B": 450.0, "C": 2.0, "beta": 0.6, "gamma": 0.65}
LAW = MultiPowerLaw(PARAMS, warmup_area=0.3)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_the_objective_is_the_laws_final_loss_with_its_gradient(name):
    step = np.linspace(2000, 12000, 51)
    lr = usual_schedules(step, 3e-4, 3e-5)[name]
    loss = final_loss(LAW, step, 3e-4)
    value, gradient = loss(lr)
    assert value == pytest.approx(LAW.predict(step, lr)[-1], abs=1e-9)
    numeric = [(loss(lr + 1e-9 * e)[0] - loss(lr - 1e-9 * e)[0]) / 2e-9 for e in np.eye(51)]
    np.testing.assert_allclose(gradient, numeric, atol=1e-6 * np.abs(gradient).max())


def test_the_found_schedule_is_lawful_and_no_worse_than_the_usual_ones():
    found = better_schedule(LAW, 2000, 24000, 3e-4, 3e-5, rows=81)
    assert found.lr_R[0] == pytest.approx(3e-4)
    assert (np.diff(found.lr_R) <= 1e-15).all()
    assert found.lr_R.min() >= 3e-5 * (1 - 1e-9)
    assert found.compared["schedule"].iloc[0] == "found"
    assert found.final_loss < found.compared.set_index("schedule").loc["cosine", "final_loss"] - 0.01
    every = np.arange(2000, 24001)
    assert LAW.predict(every, found.lr(every))[-1] == pytest.approx(found.final_loss, abs=2e-4)


def test_impossible_rates_are_refused():
    with pytest.raises(ValueError, match="floor"):
        better_schedule(LAW, 2000, 24000, 3e-4, 4e-4)
    with pytest.raises(ValueError, match="steps"):
        better_schedule(LAW, 24000, 2000, 3e-4)
