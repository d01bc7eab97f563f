"""Forecasts by curve laws: honest splits, refusals, planted truth."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.curve_laws import MultiPowerLaw, PowerLaw
from trajlab.analysis.forecasting.curve_forecast import STEP_LAWS, forecast_laws, forecast_table

TOKENS = np.arange(1, 101) * 1e6
LOSS = 2 + 60 * TOKENS**-0.3


def test_a_planted_power_law_is_forecast_from_its_first_tenth():
    power = forecast_laws(TOKENS, LOSS, 0.1)[0]
    assert power.name == "power"
    np.testing.assert_allclose(power.predicted, power.loss, rtol=1e-5)
    assert power.row()["mse"] < 1e-9


def test_only_strictly_later_points_are_scored_and_none_of_them_is_fitted():
    spoiled = np.where(TOKENS > 40e6, 9.0, LOSS)
    clean, other = (forecast_laws(TOKENS, y, 0.4)[0] for y in (LOSS, spoiled))
    assert clean.step.min() == 41e6
    assert clean.fitted_points == 40
    np.testing.assert_array_equal(clean.predicted, other.predicted)


def test_thin_evidence_is_refused_not_drawn():
    power, reciprocal, logarithmic = forecast_laws(TOKENS[:40], LOSS[:40], 0.1)
    assert power.refused == reciprocal.refused == "4 points for 3 parameters"
    assert np.isnan(power.predicted).all()
    assert np.isnan(power.row()["mse"])
    assert not logarithmic.refused


def test_a_law_of_the_schedule_needs_a_schedule():
    laws = (PowerLaw, MultiPowerLaw)
    assert [f.name for f in forecast_laws(TOKENS, LOSS, 0.4, laws=laws)] == ["power"]
    refused = forecast_laws(TOKENS, LOSS, 0.4, np.full(100, 1e-3), laws)[1].refused
    assert "constant" in refused


def test_missing_losses_are_neither_fitted_nor_scored():
    holed = np.where(np.arange(100) % 2 == 0, LOSS, np.nan)
    power = forecast_laws(TOKENS, holed, 0.4)[0]
    assert (power.fitted_points, len(power.loss)) == (20, 30)
    assert np.isfinite(power.predicted).all()


def test_the_table_has_a_row_for_each_curve_fraction_and_law():
    frame = pd.concat([pd.DataFrame({"curve": c, "step": TOKENS, "loss": LOSS + c}) for c in (0, 1)])
    table = forecast_table(frame, fractions=(0.1, 0.2))
    assert len(table) == 2 * 2 * len(STEP_LAWS)
    assert list(table.columns[:3]) == ["curve", "fraction", "law"]
    assert {"mse", "mae", "mape", "r2", "refused", "n_fit"} <= set(table)


@pytest.mark.parametrize("fraction", [0, 1, 1.5])
def test_fractions_are_parts(fraction):
    with pytest.raises(ValueError, match="fraction"):
        forecast_laws(TOKENS, LOSS, fraction)
