"""Whole runs of a family are fitted, another schedule is predicted."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.forecasting.test_default import STEPS, cooldown, planted
from trajlab.analysis.__main__ import main
from trajlab.analysis.curve_laws import AnnealingLaw, MultiPowerLaw, PowerLaw, score
from trajlab.analysis.forecasting.across import LAST, across_table, run_across


def family(loss_of=planted) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """A cosine and two cooldowns of one model, 50 losses each."""
    schedules = {
        "cosine": 5e-4 * (1 + np.cos(np.pi * STEPS / STEPS[-1])),
        "short": cooldown(0.1),
        "long": cooldown(0.4),
    }
    frames = [
        pd.DataFrame({"curve": name, "family": "m", "run": name, "step": STEPS, "loss": loss_of(lr, 0.25), "lr": lr})
        for name, lr in schedules.items()
    ]
    return pd.concat(frames, ignore_index=True).iloc[::5]


def test_a_law_that_knows_the_rate_predicts_another_schedule_and_one_that_does_not_fails():
    scored = run_across(family(), fitted=(1, 2), laws=[PowerLaw, AnnealingLaw], draws=2)
    table = across_table(scored).set_index(["fitted", "law"])["final error"]
    for fitted in (1, 2):
        assert table[fitted, "annealing"] < 0.06
        assert table[fitted, "annealing"] < table[fitted, "power"] / 2
    assert set(scored["law"]) == {"power", "annealing", LAST}
    assert not any(curve in fits.split(", ") for curve, fits in zip(scored["curve"], scored["fits"], strict=True))


def test_losses_of_the_predicted_run_change_no_prediction_by_a_bit():
    one = family()
    spoiled = one.assign(loss=one["loss"] + 5 * (one["curve"] == "long"))
    found = []
    for frame in (one, spoiled):
        scored = run_across(frame, fitted=(1,), laws=[AnnealingLaw], draws=3)
        found.append(scored[(scored["curve"] == "long") & (scored["fits"] != "long") & (scored["law"] == "annealing")])
    same = ["fits", "final_forecast", "final_low", "final_high"]
    assert len(found[0])
    pd.testing.assert_frame_equal(found[0][same], found[1][same], check_exact=True)


def test_a_sample_across_schedules_is_a_sample(tmp_path):
    family().to_csv(tmp_path / "c.csv", index=False)
    command = ["contest", str(tmp_path / "c.csv"), "--across", "--sample", "2", "--draws", "1", "--laws", "power"]
    main([*command, "--out", str(tmp_path)])
    scored = pd.read_parquet(tmp_path / "across.parquet")
    assert len(set(scored["curve"]) | set(scored["fits"])) == 2


def test_a_family_that_can_not_be_split_is_said():
    with pytest.raises(ValueError, match="no family has more than 1 runs whose learning rate is known"):
        run_across(family().assign(lr=np.nan))


@pytest.mark.parametrize("fitted", ["cosine", "short"])
def test_multi_power_fitted_on_one_schedule_is_no_worse_than_annealing_on_others(fitted):
    """The curves follow neither law; one schedule leaves the multi-power law's response open."""
    curves = family()
    own = curves["curve"] == fitted
    mae = [score(law.fit(curves[own], starts=4), curves[~own])["mae"].mean() for law in (MultiPowerLaw, AnnealingLaw)]
    assert mae[0] <= mae[1]
    assert mae[1] < 0.04
