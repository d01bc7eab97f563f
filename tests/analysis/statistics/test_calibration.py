"""The calibration against what is known of these tests, and against the tests it stands for."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.__main__ import main
from trajlab.analysis.repeated_measures import friedman, mixed_model, rm_anova, sign_flip_test, trend_test
from trajlab.analysis.statistics.calibration import (
    NULL_MODELS,
    calibrate,
    effect_curve,
    false_positives,
    interval_tests,
    seeds_for_power,
)

COLUMNS = ("loss", "interval", "seed")


@pytest.fixture(scope="module")
def null() -> pd.Series:
    """2,000 data sets without an effect at each model, six seeds by 21 intervals."""
    table = calibrate(6, 21, replicates=2000, effects=(), n_permutations=199)
    return table.set_index(["model", "test"])["rejected"]


def test_the_uncorrected_test_is_far_off_on_random_walks_and_the_recommended_ones_are_not(null: pd.Series) -> None:
    walk = null["random walk"]
    assert 0.17 <= walk["uncorrected"] <= 0.23
    assert 0.17 <= walk["label permutation"] <= 0.24
    assert walk["Greenhouse–Geisser"] <= 0.055
    assert walk["sign flip"] <= 0.055
    assert walk["linear and quadratic trend"] <= 0.06
    assert 0.06 <= walk["Huynh–Feldt"] <= 0.11
    assert walk["lower bound"] <= 0.02


def test_every_recommended_test_keeps_its_error_under_every_null(null: pd.Series) -> None:
    for test in ("Greenhouse–Geisser", "sign flip", "linear and quadratic trend", "lower bound"):
        assert null.xs(test, level="test").max() <= 0.065  # two standard errors of 2,000 replicates above 5.5 %
    assert null["white noise", "Greenhouse–Geisser"] <= 0.005
    assert 0.035 <= null["white noise", "uncorrected"] <= 0.065


def test_the_vectorised_tests_are_the_tests() -> None:
    y_BSK = NULL_MODELS["AR(1) with drift"]((3, 5, 8), np.random.default_rng(1))
    p = interval_tests(y_BSK, np.random.default_rng(0))
    for b, y_SK in enumerate(y_BSK):
        frame = pd.DataFrame(
            {"seed": np.repeat(np.arange(5), 8), "interval": np.tile(np.arange(8), 5), "loss": y_SK.ravel()}
        )
        anova = rm_anova(frame, *COLUMNS, n_bootstrap=0)
        alone = {
            "uncorrected": anova.p_uncorrected,
            "Greenhouse–Geisser": anova.p_gg,
            "Huynh–Feldt": anova.p_hf,
            "lower bound": anova.p_lb,
            "sign flip": sign_flip_test(frame, *COLUMNS),
            "Friedman": friedman(frame, *COLUMNS).p,
            "linear and quadratic trend": trend_test(frame, *COLUMNS).p,
        }
        for test, value in alone.items():
            assert p[test][b] == pytest.approx(value, rel=1e-8), test
        assert p["mixed model, AR(1)"][b] == pytest.approx(mixed_model(frame, *COLUMNS).p, rel=1e-2)


def test_power_rises_with_the_effect_and_the_seeds() -> None:
    table = calibrate(
        6, 10, replicates=300, effects=(0.5, 2.0), shapes=("turn",), models=("random walk",), n_permutations=49
    )
    rates = table[table["test"] == "Greenhouse–Geisser"].set_index("size")["rejected"]
    assert rates[0.0] < rates[0.5] < rates[2.0]
    by_seeds = seeds_for_power((4, 12), 10, replicates=200)
    rates = by_seeds[by_seeds["test"] == "linear and quadratic trend"].set_index("n")["rejected"]
    assert rates[4] < rates[12]


def test_the_trend_test_sees_a_turn_that_greenhouse_geisser_misses() -> None:
    table = calibrate(replicates=500, effects=(0.5,), shapes=("turn",), models=("random walk",), n_permutations=19)
    rates = table[table["effect"] == "turn"].set_index("test")["rejected"]
    assert rates["linear and quadratic trend"] > 1.5 * rates["Greenhouse–Geisser"]


def test_same_seed_same_table_and_cells_do_not_depend_on_each_other() -> None:
    few = {"replicates": 50, "n_permutations": 19}
    a, b = (calibrate(4, 6, effects=(1.0,), **few) for _ in range(2))
    pd.testing.assert_frame_equal(a, b)
    alone = calibrate(4, 6, effects=(), models=("random walk",), **few)
    shared = a[(a["model"] == "random walk") & (a["effect"] == "none")].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, shared)
    assert not a.equals(calibrate(4, 6, effects=(1.0,), seed=1, **few))


def test_effects_have_the_size_they_say() -> None:
    noise_BSK = NULL_MODELS["random walk"]((2000, 6, 21), np.random.default_rng(0))
    curve_K = effect_curve("turn", 0.5, noise_BSK)
    around = noise_BSK - noise_BSK.mean(-1, keepdims=True)
    assert np.sqrt(np.square(curve_K).mean()) == pytest.approx(0.5 * np.sqrt(np.square(around).mean()))
    assert curve_K.mean() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("n", "k"), [(2, 21), (6, 2), (16, 5), (3, 300)])
def test_odd_sizes(n: int, k: int) -> None:
    table = calibrate(n, k, replicates=20, effects=(), n_permutations=9)
    assert table["rejected"].between(0, 1).all()
    assert set(false_positives(table).columns) == {"test", *NULL_MODELS}


def test_mistakes_say_what_to_write() -> None:
    for arguments, words in (
        ({"n": 1}, "1 seeds and 21 intervals"),
        ({"replicates": 0}, "replicates=0"),
        ({"models": ("brown",)}, "unknown brown; there are white noise"),
    ):
        with pytest.raises(ValueError, match=words):
            calibrate(**arguments)  # type: ignore[arg-type]


def test_the_command_writes_a_table_and_a_figure(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    main(["calibrate", "--seeds", "4", "--intervals", "6", "--replicates", "40", "--effects", "--out", str(tmp_path)])
    assert (tmp_path / "calibration.png").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / "calibration.csv")
    assert set(table["model"]) == set(NULL_MODELS)
    assert "Greenhouse–Geisser" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="at least two of each"):
        main(["calibrate", "--seeds", "1", "--out", str(tmp_path)])
