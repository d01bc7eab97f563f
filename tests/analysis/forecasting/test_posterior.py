"""The law's forecast of one run: what its own past says of the spread, what its level says of the gain."""

import numpy as np
import pytest

from tests.analysis.forecasting.test_default import STEPS, cooldown, planted
from trajlab.analysis.forecasting.archive import LOSSES, Prior
from trajlab.analysis.forecasting.default import outlook, shipped
from trajlab.analysis.forecasting.gaussian import MISFIT, MISFIT_LENGTH, TYPICAL, Conditioned, Points
from trajlab.analysis.forecasting.posterior import SeenRun
from trajlab.analysis.forecasting.response import COLUMNS_OF, Basis

LAST = np.array([len(STEPS) - 1])


def seen_run(loss: np.ndarray, lr: np.ndarray | None, seen: int = 100) -> SeenRun:
    return SeenRun.of(Basis.of(STEPS, lr, seen), loss[:seen], seen, LAST)


def test_the_posterior_is_that_of_a_regression_written_out():
    """Against the same Gaussian model with the prior as pseudo-observations, for one shape."""
    lr = cooldown()
    loss = planted(lr, 0.25)
    basis = Basis.of(STEPS, lr, 100)
    points = Points.of(basis, np.where(np.arange(250) < 100, loss, np.nan), 100)
    mean_G3, sd_G3 = shipped().prior.coefficients(basis.peak)
    found = Conditioned.of(basis, points, LAST).under(mean_G3, sd_G3)
    shape = 40
    x_P = np.append(points.share_K, basis.share_R[-1])
    all_P3 = np.vstack([points.mean_KR @ basis.columns(), basis.columns()[-1:]])[:, COLUMNS_OF[shape]]
    scale_P = MISFIT * x_P**-0.5
    cov_PP = np.outer(scale_P, scale_P) * np.exp(-np.abs(np.subtract.outer(np.log(x_P), np.log(x_P))) / MISFIT_LENGTH)
    cov_PP += all_P3 @ np.diag(sd_G3[shape] ** 2) @ all_P3.T
    noisy_KK = cov_PP[:-1, :-1] + np.diag(points.noise_K**2)
    level = points.loss_K[-1]
    gain_K = np.linalg.solve(noisy_KK, cov_PP[:-1, -1])
    mean = level + all_P3[-1] @ mean_G3[shape] + gain_K @ (points.loss_K - level - all_P3[:-1] @ mean_G3[shape])
    assert found.mean_GM[shape, 0] == pytest.approx(mean, abs=1e-6)
    assert found.variance_GM[shape, 0] == pytest.approx(cov_PP[-1, -1] - gain_K @ cov_PP[:-1, -1], rel=1e-4)


def test_a_run_that_the_law_has_missed_before_has_a_wider_spread():
    """A steady rate and a loss with a slow wave of 0.04 nats, which no shape of the law has."""
    lr = np.full(250, 1e-3)
    loss = planted(lr, 0.25)
    waved = loss + 0.04 * np.sin(6 * np.log(STEPS / STEPS[0]))
    plain, odd = (seen_run(x, lr).forecast(shipped().prior).spread_M[-1] for x in (loss, waved))
    assert odd > 1.5 * plain


def test_the_gain_of_a_cooldown_ahead_grows_as_the_level_falls_within_the_archive():
    prior = shipped().prior
    gains = [prior.coefficients(1e-3, level)[0][:, 2] for level in (2.0, LOSSES[0], TYPICAL, LOSSES[1], 5.0)]
    assert (gains[1] > gains[2]).all()
    assert (gains[2] > gains[3]).all()
    np.testing.assert_array_equal(gains[0], gains[1])  # beyond the archive nothing is extrapolated
    np.testing.assert_array_equal(gains[3], gains[4])


def test_an_unknown_schedule_is_not_scaled_by_a_past_that_tells_nothing_of_its_falls():
    loss = planted(cooldown(), 0.25)
    assert seen_run(loss, None).tests == ()
    assert len(seen_run(loss, cooldown()).tests) == 3


def test_a_prior_of_another_version_is_refused_by_name(tmp_path):
    path = tmp_path / "prior.csv"
    shipped().prior.table.drop(columns="b_level").to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"prior\.csv: no column b_level; rebuild it"):
        Prior.read(path)


def test_a_law_that_fits_the_past_of_an_unknown_schedule_does_not_take_the_forecast_over():
    """A cosine whose rate nobody tells: power laws fit its first part twice as well and end far too high."""
    share = STEPS / STEPS[-1]
    lr = 1e-3 * (0.55 + 0.45 * np.cos(np.pi * share))
    held = []
    for seed in range(10):
        loss = planted(lr, 0.25, seed)
        o = outlook(STEPS[:50], loss[:50], STEPS[50:], None)
        assert o.laws.set_index("law").loc["response", "weight"] == 1
        low_M, high_M = o.band()
        held.append(low_M[-1] < loss[-1] < high_M[-1])
    assert np.mean(held) >= 0.9
