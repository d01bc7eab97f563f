"""The temporal law: gradients of every form, planted coefficients, forecasts, refusals."""

import numpy as np
import pytest

from trajlab.analysis.position_law import fit_position_law, hyperbola
from trajlab.analysis.temporal_law import Forecast, ThinEvidence, fit_temporal_law, forecast, project
from trajlab.analysis.temporal_law.forms import (
    FORMS,
    Constant,
    Form,
    Hyperbolic,
    Logarithmic,
    PiecewiseCosine,
    Power,
    register,
)

ALPHA, BETA, GAMMA = np.array([0.25, 1.8]), np.array([0.15, 0.4, 0.05]), np.array([2.5, 0.3, 2.0])
TOKENS_K = np.linspace(0.25e6, 20e6, 80)


def planted(tokens_K: np.ndarray = TOKENS_K, noise: float = 1e-3, seed: int = 0, positions: int = 256) -> np.ndarray:
    n_K = tokens_K / 1e6
    a0_K, a1_K = ALPHA[0] * np.log(n_K) + ALPHA[1], BETA[0] / (1 + BETA[1] * n_K) + BETA[2]
    a2_K = GAMMA[0] / (1 + GAMMA[1] * n_K) + GAMMA[2]
    loss_KP = hyperbola(a0_K, a1_K, a2_K, np.arange(1.0, positions + 1))
    return loss_KP + noise * np.random.default_rng(seed).normal(size=loss_KP.shape)


CASES: dict[str, tuple[Form, list[float]]] = {
    "constant": (Constant(), [1.3]),
    "logarithmic": (Logarithmic(), [0.4, 1.2]),
    "hyperbolic": (Hyperbolic(), [2.0, 0.7, 1.1]),
    "power": (Power(), [1.5, 0.4, 2.0]),
    "piecewise_cosine": (PiecewiseCosine(n_sep=4.0), [2.0, 0.7, 1.1, 0.3, 0.5, -2.0, 1.4]),
}


def test_every_registered_form_is_checked_here() -> None:
    assert set(CASES) == set(FORMS)


@pytest.mark.parametrize("name", CASES)
def test_gradients_match_finite_differences(name: str) -> None:
    form, values = CASES[name]
    theta_Q, n_K = np.array(values), np.linspace(0.3, 9.9, 17)
    for j, step in enumerate(1e-6 * np.maximum(np.abs(theta_Q), 1e-3)):
        moved_Q = np.eye(len(theta_Q))[j] * step
        numeric_K = (form.value(theta_Q + moved_Q, n_K) - form.value(theta_Q - moved_Q, n_K)) / (2 * step)
        np.testing.assert_allclose(form.gradient(theta_Q, n_K)[:, j], numeric_K, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_starts_lie_within_bounds_and_reach_the_truth_nearly(name: str) -> None:
    form, values = CASES[name]
    n_K = np.linspace(0.3, 9.9, 40)
    y_K = form.value(np.array(values), n_K)
    best = form.starts(n_K, y_K, np.ones(40))[0]
    low, high = form.bounds(n_K)
    assert len(best) == len(form.coefficients) == len(low)
    assert ((best >= low) & (best <= high)).all()
    assert np.abs(form.value(best, n_K) - y_K).mean() < 0.2 * np.ptp(y_K) + 1e-9


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register(type("Other", (Constant,), {"name": "power"}))


def test_the_laws_gradient_matches_finite_differences() -> None:
    law = fit_temporal_law(fit_position_law(planted()), TOKENS_K)
    at_M = np.array([1e6, 9e6, 30e6])
    for parameter, offset in (("a0", 0), ("a1", 2), ("a2", 5)):
        theta_Q = law.theta[parameter]
        for j in range(len(theta_Q)):
            step, kept = 1e-6 * abs(theta_Q[j]), theta_Q[j]
            theta_Q[j] = kept + step
            above_M = law.predict(at_M)
            theta_Q[j] = kept - step
            below_M = law.predict(at_M)
            theta_Q[j] = kept
            np.testing.assert_allclose(law.gradient(at_M)[:, offset + j], (above_M - below_M) / (2 * step), rtol=1e-5)


def test_planted_coefficients_are_recovered() -> None:
    law = fit_temporal_law(fit_position_law(planted()), TOKENS_K)
    assert law.converged
    for parameter, truth in (("a0", ALPHA), ("a1", BETA), ("a2", GAMMA)):
        np.testing.assert_allclose(law.theta[parameter], truth, rtol=0.01)
    assert (np.abs(law.table()["value"] - np.concatenate([ALPHA, BETA, GAMMA])) < 5 * law.table()["stderr"]).all()


def test_wild_checkpoints_do_not_bend_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    loss_KP = planted()
    loss_KP[:2] += np.array([0.5, 0.2])[:, None]  # the start of a run, where no smooth form holds
    truth, position_law = planted(noise=0)[-1].mean(), fit_position_law(loss_KP)
    robust = fit_temporal_law(position_law, TOKENS_K).predict(TOKENS_K[-1])[0]
    monkeypatch.setattr("trajlab.analysis.temporal_law.fit.ROBUST_ROUNDS", 0)
    plain = fit_temporal_law(position_law, TOKENS_K).predict(TOKENS_K[-1])[0]
    assert abs(robust - truth) < 2e-3
    assert abs(plain - truth) > 1e-2


def test_the_mean_over_other_lengths_of_context() -> None:
    law = fit_temporal_law(fit_position_law(planted()), TOKENS_K)
    direct_K = law.predict_positions(TOKENS_K).mean(1)
    np.testing.assert_allclose(law.predict(TOKENS_K, n=256), direct_K, atol=1e-9)
    assert law.predict(10e6, n=1024)[0] < law.predict(10e6, n=64)[0]


@pytest.mark.slow
def test_the_decay_of_a_schedule_is_followed_by_the_cosine() -> None:
    lr_K = np.where(TOKENS_K <= 14e6, 1e-3, 1e-3 * (20.5e6 - TOKENS_K) / 6.5e6)
    drop_K = 0.15 * (1 - np.cos(np.pi * np.clip((TOKENS_K - 14e6) / 6e6, 0, 1)))
    loss_KP = planted(positions=32) - drop_K[:, None]
    given = fit_temporal_law(fit_position_law(loss_KP), TOKENS_K, lr_K)
    searched = fit_temporal_law(fit_position_law(loss_KP[::2]), TOKENS_K[::2], n_sep="fit")
    for law in (given, searched):
        np.testing.assert_allclose(law.predict(TOKENS_K), loss_KP.mean(1), atol=0.02)
        assert isinstance(law.forms["a2"], PiecewiseCosine)
    assert given.n_sep == pytest.approx(14e6)
    assert searched.n_sep == pytest.approx(14e6, rel=0.15)


def test_warm_up_and_initialisation_are_left_out() -> None:
    lr_K = np.minimum(TOKENS_K / 1e6, 1.0)
    spoiled_KP = planted()
    spoiled_KP[TOKENS_K < 1e6] = 50.0
    law = fit_temporal_law(fit_position_law(spoiled_KP), TOKENS_K, lr_K)
    assert law.checkpoints == (TOKENS_K >= 1e6).sum()
    np.testing.assert_allclose(law.theta["a2"], GAMMA, rtol=0.02)


@pytest.mark.parametrize("fraction", [0.2, 0.4])
def test_the_forecast_of_a_run_that_obeys_the_law_beats_the_baselines(fraction: float) -> None:
    table = forecast(planted(), TOKENS_K, fraction).table().set_index("law")
    assert table.loc["temporal", "mae"] < 2e-3
    others = table.drop("temporal")["mae"].dropna()
    assert len(others) >= 3
    assert (table.loc["temporal", "mae"] < others).all()
    assert table.loc["temporal", "inside"] > 0.7


def test_a_forecast_sees_nothing_of_what_it_is_scored_on() -> None:
    loss_KP = planted()
    changed_KP = loss_KP.copy()
    later_K = TOKENS_K / TOKENS_K[-1] > 0.4
    changed_KP[later_K] += 1.0
    a, b = forecast(loss_KP, TOKENS_K, 0.4), forecast(changed_KP, TOKENS_K, 0.4)
    for p, q in zip(a.projections, b.projections, strict=True):
        np.testing.assert_array_equal(p.loss_M, q.loss_M)
    assert a.tokens_M.min() > 0.4 * TOKENS_K[-1]


def test_equal_evidence_is_forecast_once_and_other_evidence_anew() -> None:
    losses_KP = planted()
    first = forecast(losses_KP, TOKENS_K, 0.4)
    assert forecast(losses_KP.copy(), TOKENS_K, 0.4) is first
    assert forecast(losses_KP, TOKENS_K, 0.4, seed=1) is not first
    losses_KP += 0.01  # in place: the array is the same, its contents are not
    assert forecast(losses_KP, TOKENS_K, 0.4)["last value"].loss_M[0] == pytest.approx(
        first["last value"].loss_M[0] + 0.01
    )


def test_thin_evidence_is_refused_with_a_reason() -> None:
    table = forecast(planted(), TOKENS_K, 0.08).table().set_index("law")
    assert "8 are needed" in table.loc["temporal", "refused"]
    assert np.isnan(table.loc["temporal", "mae"])
    with pytest.raises(ThinEvidence, match="8 are needed"):
        fit_temporal_law(fit_position_law(np.full((40, 64), 3.0)), TOKENS_K[:40])


def test_a_decay_to_come_is_not_forecast_from_a_constant_rate() -> None:
    lr_K = np.where(TOKENS_K <= 14e6, 1e-3, 1e-4)
    table = forecast(planted(), TOKENS_K, 0.4, lr=lr_K).table().set_index("law")
    assert "not been seen" in table.loc["temporal", "refused"]


def test_noise_without_a_trend_is_refused() -> None:
    loss_KP = 3 + np.random.default_rng(0).normal(size=(60, 1)) * 0.1 + 0.5 / np.arange(1, 65)
    projections = project(loss_KP, TOKENS_K[:60], TOKENS_K[60:])
    assert all(p.refused for p in projections if p.law != "last value")


@pytest.mark.parametrize("loss", [np.nan, np.inf, 0.0, 3.0])
def test_degenerate_runs_never_raise(loss: float) -> None:
    result = forecast(np.full((40, 16), loss), TOKENS_K[:40], 0.4)
    assert isinstance(result, Forecast)
    assert result["temporal"].refused


def test_bands_hold_the_noise_of_the_evidence() -> None:
    """Over replicates whose only error is noise, the 90 % band at the end holds the truth about that often."""
    truth = planted(noise=0)[-1].mean()
    tokens_K, held = TOKENS_K[:40], []
    for seed in range(25):
        temporal = project(planted(tokens_K, 0.01, seed, 64), tokens_K, TOKENS_K[-1:], baselines=[])[0]
        truth = planted(TOKENS_K[-1:], 0.0, 0, 64).mean()
        held.append(temporal.low_M[0] <= truth <= temporal.high_M[0])
    assert 0.68 <= np.mean(held) <= 1.0


def test_laws_of_the_schedule_join_once_the_rate_has_fallen() -> None:
    lr_K = 1e-3 * 0.5 * (1 + np.cos(np.pi * TOKENS_K / 20.5e6))
    loss_KP = planted(positions=16) - 0.1 * (1 - lr_K / 1e-3)[:, None]
    constant = forecast(loss_KP, TOKENS_K, 0.4, lr=np.full(80, 1e-3)).table().set_index("law")
    assert "has not fallen" in constant.loc["annealing", "refused"]
    known = forecast(loss_KP, TOKENS_K, 0.4, lr=lr_K).table().set_index("law")
    assert np.isfinite(known.loc["annealing", "mae"])
    assert np.isfinite(known.loc["temporal", "mae"])  # no stable part: one form has seen the fall all along
    assert "annealing" not in forecast(loss_KP, TOKENS_K, 0.4).table()["law"].to_list()


@pytest.mark.parametrize(("seen", "within"), [(0.6, 0.3), (0.7, 0.1), (0.85, 0.1)])
def test_the_cosine_ends_where_the_schedule_does(seen: float, within: float) -> None:
    """A linear decay over the last 60 %: with its first part seen none is refused and none rises."""
    n = np.arange(1, 41) * 0.5
    lr = 1e-3 * np.clip((20.5 - n) / 12, 0, 1)
    a2 = 2.0 / (1 + 0.5 * n) + 2.0 - 0.25 * (1 - lr / 1e-3)
    loss_KP = 1.5 / (1 + 0.2 * np.arange(1, 33)) + a2[:, None]
    loss_KP = loss_KP + np.random.default_rng(0).normal(0, 2e-3, loss_KP.shape)
    k = int(seen * len(n))
    p = project(loss_KP[:k], n[:k] * 1e6, n[k:] * 1e6, lr[:k], lr[k:], baselines=())[0]
    assert not p.refused
    assert (np.diff(p.loss_M) < 1e-6).all()
    assert abs(p.loss_M[-1] - loss_KP[-1].mean()) < within


def test_standard_errors_hold_the_noise_that_all_positions_share() -> None:
    """Over 6 data sets the coefficients of a0 and a2's level spread as their standard errors say, within a factor 2.5."""
    n, rng = np.arange(1, 31) * 1.0, np.random.default_rng(0)
    truth_KP = (0.3 * np.log(n) + 3)[:, None] / (1 + 0.2 * np.arange(1, 33)) + (2.5 / (1 + 0.5 * n) + 2)[:, None]
    values, errors = [], []
    for _ in range(6):
        loss_KP = truth_KP + rng.normal(0, 0.01, (30, 1))
        table = fit_temporal_law(fit_position_law(loss_KP), n * 1e6).table()
        values.append(table["value"].iloc[-1])
        errors.append(table["stderr"].iloc[-1])
    assert 0.4 < np.median(errors) / np.std(values) < 2.5
