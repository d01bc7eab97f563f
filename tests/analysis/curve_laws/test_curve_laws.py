"""Curve laws: exact gradients, planted truth, the published numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajlab.analysis.curve_laws import (
    AnnealingLaw,
    LogarithmicLaw,
    MultiPowerLaw,
    PowerLaw,
    ReciprocalLaw,
    bootstrap,
    errors,
    score,
)

PLANTED = {
    PowerLaw: {"a": 9.0, "b": 0.3, "c": 2.0},
    ReciprocalLaw: {"a": 4000.0, "b": 900.0, "c": 2.2},
    LogarithmicLaw: {"a": 7.0, "b": 0.35},
    AnnealingLaw: {"L0": 2.7, "A": 0.6, "alpha": 0.45, "C": 0.8, "tau": 600.0},
    MultiPowerLaw: {"L0": 2.7, "A": 0.6, "alpha": 0.45, "B": 450.0, "C": 2.0, "beta": 0.6, "gamma": 0.65},
}
LAWS = list(PLANTED)
PUBLISHED = {
    25: [3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013, 0.64142257],
    100: [2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644],
}
"""The multi-power law's parameters as published with its code, for the curves of 25M and 100M parameters."""


def cosine(step, total, peak=3e-4, floor=3e-5, warmup=2000):
    return floor + (peak - floor) * (1 + np.cos(np.pi * (step - warmup) / (total - warmup))) / 2


def schedules() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    step = np.arange(2000, 20001, 200.0)
    short = np.arange(2000, 12001, 200.0)
    return {
        "constant": (step, np.full_like(step, 3e-4)),
        "cosine": (step, cosine(step, 20000)),
        "drop": (short, np.where(short < 8000, 3e-4, 9e-5)),
    }


def planted_curves(law, noise=0.0, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for name, (step, lr) in schedules().items():
        loss = law.predict(step, lr) * np.exp(noise * rng.standard_normal(len(step)))
        frames.append(pd.DataFrame({"curve": name, "step": step, "lr": lr, "loss": loss}))
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("kind", LAWS)
def test_the_gradient_is_that_of_the_prediction(kind):
    step, lr = schedules()["cosine"]
    law = kind(PLANTED[kind])
    gradient_RQ = law.gradient(step, lr)
    for q, (name, value) in enumerate(law.params.items()):
        up, down = ({**law.params, name: value * f} for f in (1 + 1e-6, 1 - 1e-6))
        numeric_R = (kind(up).predict(step, lr) - kind(down).predict(step, lr)) / (2e-6 * value)
        np.testing.assert_allclose(gradient_RQ[:, q], numeric_R, rtol=1e-5, atol=1e-7 * np.abs(numeric_R).max())


@pytest.mark.parametrize("kind", LAWS)
def test_a_noiseless_plant_is_recovered(kind):
    law = kind.fit(planted_curves(kind(PLANTED[kind])))
    for name, value in PLANTED[kind].items():
        assert law.params[name] == pytest.approx(value, rel=0.01), (name, law)


@pytest.mark.parametrize("kind", [PowerLaw, ReciprocalLaw, LogarithmicLaw])
def test_a_noisy_plant_is_recovered_within_a_percent(kind):
    step = np.geomspace(100, 100_000, 1500)
    clean = kind(PLANTED[kind]).predict(step)
    noisy = clean * np.exp(1e-3 / clean * np.random.default_rng(1).standard_normal(len(step)))
    law = kind.fit(pd.DataFrame({"step": step, "loss": noisy}))
    for name, value in PLANTED[kind].items():
        assert law.params[name] == pytest.approx(value, rel=0.01), (name, law)


@pytest.mark.parametrize("kind", [AnnealingLaw, MultiPowerLaw])
def test_a_noisy_plant_predicts_a_schedule_it_has_not_seen(kind):
    truth = kind(PLANTED[kind])
    law = kind.fit(planted_curves(truth, noise=1e-3))
    step = np.arange(2000, 20001, 100.0)
    lr = np.where(step < 16000, 3e-4, 3e-4 * 0.1 ** ((step - 16000) / 4000))
    np.testing.assert_allclose(law.predict(step, lr), truth.predict(step, lr), rtol=2e-3)


def test_a_run_that_lies_apart_does_not_bend_the_law():
    truth = MultiPowerLaw(PLANTED[MultiPowerLaw])
    curves = planted_curves(truth)
    apart = curves["curve"] == "drop"
    curves.loc[apart, "loss"] *= np.exp(0.002)
    law = MultiPowerLaw.fit(curves)
    offsets = law.evidence.run_offsets
    assert offsets["drop"] - offsets["constant"] == pytest.approx(0.002, abs=3e-4)
    assert score(law, planted_curves(truth))["mae"].max() < 0.003


def test_outliers_do_not_move_a_robust_fit():
    step = np.arange(100, 20_000, 100)
    loss = 2 + 9 * step**-0.3
    spiked = np.where(np.arange(len(step)) % 17 == 3, loss + 1.5, loss)
    law = PowerLaw.fit(pd.DataFrame({"step": step, "loss": spiked}))
    assert law.params["b"] == pytest.approx(0.3, rel=0.01)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 1e7))
def test_the_unit_of_time_does_not_matter(scale):
    """Steps or tokens: the same curve, the same predictions."""
    step = np.geomspace(2000, 50_000, 40)
    loss = 2 + 9 * step**-0.3
    law = PowerLaw.fit(pd.DataFrame({"step": step * scale, "loss": loss}), starts=2)
    np.testing.assert_allclose(law.predict(200_000 * scale), 2 + 9 * 200_000**-0.3, rtol=1e-4)


def test_a_fit_gives_a_new_law_that_keeps_its_configuration():
    curves = planted_curves(MultiPowerLaw(PLANTED[MultiPowerLaw], warmup_area=0.25))
    law = MultiPowerLaw.fit(curves, warmup_area=0.25, prior_sd=None, starts=2)
    assert law.warmup_area == 0.25
    assert bootstrap(law, 1).replicates[0].warmup_area == 0.25
    assert law.evidence.points == len(curves)
    with pytest.raises(TypeError, match="delta"):
        PowerLaw({}, delta=0.01)  # a setting of the fit, not of the law
    with pytest.raises(AttributeError):
        law.params = {}


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
@pytest.mark.parametrize("kind", [PowerLaw, ReciprocalLaw, LogarithmicLaw])
def test_the_initial_row_does_not_bend_an_exact_law(kind, unit):
    """N = 0 is left out where the law has no value there, whatever N is counted in."""
    tokens = np.arange(1, 101) * 1e6
    scale = {"a": 4e7, "b": 9e6, "c": 2.2} if kind is ReciprocalLaw else {**PLANTED[kind], "a": 60.0}
    truth = kind(scale)
    initial = truth.predict([0.0])[0] if kind is ReciprocalLaw else 10.8
    frame = pd.DataFrame({"step": [0, *tokens * unit], "loss": [initial, *truth.predict(tokens)]})
    law = kind.fit(frame[frame["step"] <= 40e6 * unit])
    assert score(law, frame[frame["step"] > 40e6 * unit])["mae"].item() == pytest.approx(0, abs=1e-4)
    assert score(law, frame)["n"].item() == (101 if kind is ReciprocalLaw else 100)
    assert np.isnan(law.predict([0.0, unit])).tolist() == [kind is not ReciprocalLaw, False]


@pytest.mark.parametrize("kind", [AnnealingLaw, MultiPowerLaw])
def test_laws_of_the_schedule_are_free_of_the_unit_of_time(kind):
    """Tokens or billions of them, the row at 0 included: the same predictions."""
    tokens = np.arange(0, 101) * 1e8 + np.where(np.arange(101) > 0, 1e7, 0)
    lr = np.where(tokens < 6e9, 3e-4, 1e-4)
    loss = (
        2.5 + 0.9 * np.maximum(tokens / 1e9, 0.05) ** -0.4 - 0.1 * (tokens >= 6e9) * (1 - np.exp(-(tokens - 6e9) / 1e9))
    )
    found = []
    for unit in (1.0, 1e-9):
        frame = pd.DataFrame({"step": tokens * unit, "lr": lr, "loss": loss})
        law = kind.fit(frame, prior_sd=None)
        assert law.evidence.points == 100
        found.append(law.predict(tokens * unit, lr))
        assert np.isnan(found[-1][0])
    np.testing.assert_allclose(found[1][1:], found[0][1:], rtol=2e-4)


def test_rows_without_a_loss_only_tell_the_rate():
    """A drop between two measurements is seen through rows whose loss is NaN."""
    truth = MultiPowerLaw(PLANTED[MultiPowerLaw])
    step = np.arange(2000, 6001, 1.0)
    lr = np.where(step < 3333, 3e-4, 1e-4)
    loss = np.where(step % 500 == 0, truth.predict(step, lr), np.nan)
    frame = pd.DataFrame({"curve": "a", "step": step, "lr": lr, "loss": loss})
    assert score(truth, frame)["n"].item() == 9
    assert score(truth, frame)["mae"].item() == pytest.approx(0, abs=1e-12)


def test_misuse_is_named():
    frame = pd.DataFrame({"curve": "a", "step": np.arange(2000, 3000, 10), "loss": 3.0})
    with pytest.raises(KeyError, match="no column loss"):
        PowerLaw.fit(frame.drop(columns="loss"))
    with pytest.raises(ValueError, match=r"'a'.*positive"):
        PowerLaw.fit(frame.assign(loss=-1.0))
    with pytest.raises(ValueError, match="column lr"):
        MultiPowerLaw.fit(frame)
    with pytest.raises(ValueError, match="constant in all curves"):
        MultiPowerLaw.fit(frame.assign(lr=3e-4))
    with pytest.raises(ValueError, match="learning rate"):
        AnnealingLaw.fit(frame.assign(lr=np.nan))
    with pytest.raises(ValueError, match="3 points can't determine 3 parameters"):
        PowerLaw.fit(frame.head(3))
    with pytest.raises(TypeError, match="params"):
        PowerLaw()
    with pytest.raises(ValueError, match=r"params must be a, b, c; got a, beta"):
        PowerLaw({"a": 1.0, "beta": 2.0})
    with pytest.raises(ValueError, match="after step 0"):
        ReciprocalLaw.fit(frame.assign(step=0.0))
    with pytest.raises(RuntimeError, match="fit"):
        bootstrap(PowerLaw(PLANTED[PowerLaw]))
    with pytest.raises(ValueError, match="lr, the learning rate"):
        MultiPowerLaw(PLANTED[MultiPowerLaw]).predict([3000])


def test_errors_are_those_of_the_definitions():
    found = errors([1.0, 2.0, 3.0], [1.5, 2.0, 2.5])
    by_hand = {"n": 3, "mse": 0.5 / 3, "mae": 1 / 3, "mape": (0.5 + 0.5 / 3) / 3, "r2": 0.75, "worst": 0.5}
    assert found == pytest.approx({**by_hand, "final_error": -0.5})
    assert np.isnan(errors([], [])["mse"])
    assert np.isnan(errors([2.0, 2.0], [2.0, 2.0])["r2"])


def test_the_bootstrap_covers_a_planted_curve():
    """Over many data sets, 90 % bands hold the true curve about as often as they say."""
    truth = PowerLaw(PLANTED[PowerLaw])
    step = np.geomspace(100, 10_000, 80)
    held = []
    for seed in range(12):
        noise = 5e-4 * np.random.default_rng(seed).standard_normal(len(step))
        law = PowerLaw.fit(pd.DataFrame({"step": step, "loss": truth.predict(step) * np.exp(noise)}), starts=2)
        band = bootstrap(law, 40, seed=seed).band([2_000, 30_000], level=0.9)
        at = truth.predict([2_000, 30_000])
        held.extend((band["low"] <= at) & (at <= band["high"]))
    assert 0.72 <= np.mean(held) <= 1.0


def test_the_bootstrap_is_a_function_of_its_seed():
    frame = planted_curves(PowerLaw(PLANTED[PowerLaw]), noise=1e-3)
    law = PowerLaw.fit(frame)
    first, again, other = (bootstrap(law, 5, seed=s).params for s in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)
    intervals = bootstrap(law, 40).intervals()
    assert (intervals["low"] <= intervals["estimate"]).all()
    assert (intervals["estimate"] <= intervals["high"]).all()


@pytest.fixture
def published_curves(shared_data) -> pd.DataFrame:
    return pd.read_csv(shared_data / "trajectories/multipowerlaw.csv").rename(columns={"schedule": "curve"})


@pytest.mark.parametrize(("size", "r2", "mae"), [(25, 0.9988, 0.00376), (100, 0.9983, 0.00435)])
def test_published_parameters_give_the_published_scores(published_curves, size, r2, mae):
    curves = published_curves[published_curves["model_params_m"] == size]
    params = dict(zip((p.name for p in MultiPowerLaw.parameters), PUBLISHED[size], strict=True))
    scores = score(MultiPowerLaw(params, warmup_area=0.324), curves[curves["split"] == "heldout"])
    assert scores["r2"].mean() == pytest.approx(r2, abs=1e-4)
    assert scores["mae"].mean() == pytest.approx(mae, abs=5e-5)


@pytest.mark.parametrize(
    ("size", "r2", "mae", "warmup_area"),
    [(25, 0.9985, 0.0040, None), (100, 0.9980, 0.0046, None), (25, 0.9985, 0.0040, 0.324)],
)
def test_three_schedules_predict_the_six_others(published_curves, size, r2, mae, warmup_area):
    curves = published_curves[published_curves["model_params_m"] == size]
    law = MultiPowerLaw.fit(curves[curves["split"] == "fit"], warmup_area=warmup_area)
    scores = score(law, curves[curves["split"] == "heldout"])
    assert len(scores) == 6
    assert scores["r2"].mean() >= r2
    assert scores["mae"].mean() <= mae
