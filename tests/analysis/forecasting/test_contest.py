"""Forecasts by curve laws: honest splits, refusals, planted truth."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.curve_laws import MultiPowerLaw, PowerLaw
from trajlab.analysis.forecasting import baselines, forecast_curve, forecast_table

TOKENS = np.arange(1, 101) * 1e6
LOSS = 2 + 60 * TOKENS**-0.3


def test_a_planted_power_law_is_forecast_from_its_first_tenth():
    result = forecast_curve(TOKENS, LOSS, 0.1)
    np.testing.assert_allclose(result["power"].loss_M, result.loss_M, rtol=1e-5)
    table = result.table().set_index("law")
    assert table.loc["power", "mse"] < 1e-9
    assert table.loc["last value", "mse"] > 1e-3


@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_the_initial_row_is_no_token(unit):
    """An exact power law with the row before training, in tokens and in billions of them: the forecast is exact."""
    tokens, loss = np.append(0, TOKENS) * unit, np.append(10.8, LOSS)
    table = forecast_curve(tokens, loss, 0.2).table().set_index("law")
    assert table.loc["power", "mae"] == pytest.approx(0, abs=1e-6)
    assert table.loc["power", "n"] == 80


def test_only_strictly_later_points_are_scored_and_none_of_them_is_fitted():
    spoiled = np.where(TOKENS > 40e6, 9.0, LOSS)
    clean, other = (forecast_curve(TOKENS, y, 0.4) for y in (LOSS, spoiled))
    assert clean.tokens_M.min() == 41e6
    assert clean.fitted == 40
    for p, q in zip(clean.projections, other.projections, strict=True):
        np.testing.assert_array_equal(p.loss_M, q.loss_M)


def test_the_order_of_the_rows_does_not_matter():
    shuffled = np.random.default_rng(0).permutation(100)
    pd.testing.assert_frame_equal(
        forecast_curve(TOKENS[shuffled], LOSS[shuffled], 0.4).table(), forecast_curve(TOKENS, LOSS, 0.4).table()
    )


def test_thin_evidence_is_refused_not_drawn():
    result = forecast_curve(TOKENS[:40], LOSS[:40], 0.1)
    assert result["power"].refused == result["reciprocal"].refused == "4 checkpoints for 3 parameters"
    assert np.isnan(result["power"].loss_M).all()
    assert np.isnan(result.table().set_index("law").loc["power", "mse"])
    assert not result["logarithmic"].refused


def test_a_law_of_the_schedule_needs_a_schedule():
    assert "multi-power" not in [p.law for p in forecast_curve(TOKENS, LOSS, 0.4).projections]
    laws = (PowerLaw, MultiPowerLaw)
    assert "not known" in forecast_curve(TOKENS, LOSS, 0.4, laws=laws)["multi-power"].refused
    constant = forecast_curve(TOKENS, LOSS, 0.4, np.full(100, 1e-3), laws)
    assert "has not fallen" in constant["multi-power"].refused
    assert not constant["power"].refused


def test_missing_losses_are_neither_fitted_nor_scored():
    holed = np.where(np.arange(100) % 2 == 0, LOSS, np.nan)
    result = forecast_curve(TOKENS, holed, 0.4)
    assert (result.fitted, len(result.loss_M)) == (20, 30)
    assert np.isfinite(result["power"].loss_M).all()


def test_rates_count_where_losses_are_missing():
    """The rate's drop is seen through rows whose loss was not measured, as in a fit."""
    truth = MultiPowerLaw({"L0": 2.7, "A": 0.6, "alpha": 0.45, "B": 450.0, "C": 2.0, "beta": 0.6, "gamma": 0.65})
    step = np.arange(2000, 12001, 10.0)
    lr = np.select([step < 3333, step < 7500], [3e-4, 1e-4], 3e-5)
    loss = np.where(step % 200 == 0, truth.predict(step, lr), np.nan)
    result = forecast_curve(step, loss, 0.5, lr, (MultiPowerLaw,))
    np.testing.assert_allclose(result["multi-power"].loss_M, result.loss_M, atol=0.01)


def test_the_table_has_a_row_for_each_curve_fraction_and_law():
    frame = pd.concat([pd.DataFrame({"curve": c, "step": TOKENS, "loss": LOSS + c}) for c in (0, 1)])
    table = forecast_table(frame, fractions=(0.1, 0.2))
    assert len(table) == 2 * 2 * (1 + len(baselines(with_lr=False)))
    assert list(table.columns[:3]) == ["curve", "fraction", "law"]
    assert {"mse", "mae", "mape", "r2", "inside", "refused", "n_fit"} <= set(table)


@pytest.mark.parametrize("fraction", [0, 1, 1.5])
def test_fractions_are_parts(fraction):
    with pytest.raises(ValueError, match="fraction"):
        forecast_curve(TOKENS, LOSS, fraction)


def test_a_run_without_a_later_part_is_refused():
    with pytest.raises(ValueError, match="no checkpoint lies after"):
        forecast_curve(np.zeros(3), LOSS[:3], 0.5)
