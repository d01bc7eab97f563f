"""Planned contrasts, Hedges' g_av and power against published and independent answers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from trajlab.analysis.contrasts import (
    bootstrap_interval,
    hedges_g_av,
    paired_t_power,
    planned_contrasts,
    planned_pairs,
    power_table,
)

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "other_statistics.json").read_text())
COLUMNS = ("loss", "interval", "seed")


def long(rows: object) -> pd.DataFrame:
    y_SK = np.asarray(rows, float)
    n, k = y_SK.shape
    return pd.DataFrame(
        {"seed": np.repeat(np.arange(n), k), "interval": np.tile(np.arange(k), n), "loss": y_SK.ravel()}
    )


def valley(n: int = 6, seed: int = 0) -> pd.DataFrame:
    curve_K = np.array([8.0, 4.0, 3.0, 2.8, 3.3, 3.9])
    return long(curve_K + 0.05 * np.random.default_rng(seed).standard_normal((n, 6)))


def test_lakens_movies() -> None:
    golden = GOLDEN["lakens_movies"]
    row = planned_contrasts(long(golden["rows"]), *COLUMNS, [(0, 1)]).iloc[0]
    published = golden["published"]
    assert {k: f"{row[k]:.{len(v.partition('.')[2])}f}" for k, v in published.items()} == published


def test_every_number_of_a_contrast_independently() -> None:
    frame = valley()
    y_SK = frame["loss"].to_numpy().reshape(6, 6)
    table = planned_contrasts(frame, *COLUMNS, [(0, 3), (3, 5), (1, 2)])
    for row in table.itertuples():
        a, b = y_SK[:, row.a], y_SK[:, row.b]
        test = stats.ttest_rel(b, a)
        low, high = test.confidence_interval()
        assert (row.t, row.p, row.ci_low, row.ci_high) == pytest.approx((test.statistic, test.pvalue, low, high))
        assert row.g_av == pytest.approx(pg.compute_effsize(b, a, paired=True, eftype="hedges"))
        assert row.g_low < row.g_av < row.g_high
        assert row.boot_low < row.difference < row.boot_high
        assert 0.9 < (row.boot_high - row.boot_low) / (row.ci_high - row.ci_low) < 2
    np.testing.assert_allclose(table["p_holm"], pg.multicomp(table["p"].to_numpy(), method="holm")[1])


def test_the_pairs_are_start_best_end_and_neighbours() -> None:
    pairs = planned_pairs(valley(), *COLUMNS)
    assert pairs["turn"] == [(0, 3), (3, 5)]
    assert pairs["adjacent"] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    falling = planned_pairs(long([[3, 2, 1], [3.1, 2.2, 1.1]]), *COLUMNS)
    assert falling["turn"] == [(0, 2)]


def test_the_sign_flip_of_six_differences_stops_at_two_in_sixtyfour() -> None:
    table = planned_contrasts(valley(), *COLUMNS, [(0, 3)])
    assert table["p_sign_flip"].iloc[0] == 2 / 64
    assert table["p_sign_flip"].iloc[0] == pytest.approx(stats.wilcoxon(np.arange(1, 7)).pvalue)


@pytest.mark.parametrize(("delta", "seeds"), [(1.0, 6), (1.0, 3), (30.0, 6)])
def test_the_interval_of_g_covers_the_planted_effect(delta: float, seeds: int) -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        a_S, b_S = rng.multivariate_normal([0, delta], [[1, 0.5], [0.5, 1]], seeds).T
        _, low, high = hedges_g_av(a_S, b_S)
        hits += low <= delta <= high
    assert hits / 300 >= 0.935  # with the spread taken as known 88 to 92 %
    low_a, high_a = hedges_g_av(a_S, b_S)[1:]
    assert hedges_g_av(b_S, a_S)[1:] == pytest.approx((-high_a, -low_a))


def test_the_spread_of_a_g_is_unknown_though_every_seed_changes_alike() -> None:
    g, low, high = hedges_g_av(np.arange(4.0), np.arange(4.0) + 1)
    assert low < g < high
    assert np.isnan(hedges_g_av(np.arange(2.0), np.arange(2.0) + 1)[1:]).all()


@pytest.mark.parametrize("seeds", [4, 6])
def test_resampled_seeds_cover_the_mean_of_wild_ones(seeds: int) -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.standard_t(3, seeds), rng.integers(0, seeds, (500, seeds)))
        hits += low <= 0 <= high
    assert hits / 300 >= 0.94  # percentiles of the mean: 85 % at four
    assert np.isnan(bootstrap_interval(np.arange(3.0), rng.integers(0, 3, (500, 3)))).all()
    assert bootstrap_interval(np.ones(5), rng.integers(0, 5, (500, 5))) == (1.0, 1.0)


def test_power_equals_statsmodels() -> None:
    for d, n in ((0.5, 6), (1.0, 12), (2.0, 3), (0.0, 8)):
        expected = TTestPower().power(d, n, 0.05, alternative="two-sided")
        assert paired_t_power(d, n) == pytest.approx(expected, abs=2e-4)
    table = power_table(0.1, [0.1, 0.001])
    assert table["seeds"].iloc[0] == np.ceil(TTestPower().solve_power(1.0, power=0.8, alpha=0.05))
    assert np.isnan(table["seeds"].iloc[1])
    assert (power_table(0.1, [0.1], family=20)["seeds"] > table["seeds"].iloc[0]).all()
    with pytest.raises(ValueError, match="sd_difference=0"):
        power_table(0.0, [0.1])


def test_edges_of_a_contrast() -> None:
    equal = planned_contrasts(long(np.full((4, 3), 0.1)), *COLUMNS, [(0, 1)]).iloc[0]
    assert (equal["t"], equal["p"], equal["difference"]) == (0, 1, 0)
    same_shift = planned_contrasts(long(np.arange(4)[:, None] + [0.0, 1.0]), *COLUMNS, [(0, 1)]).iloc[0]
    assert (same_shift["t"], same_shift["p"]) == (np.inf, 0)
    with pytest.raises(ValueError, match="no interval 9"):
        planned_contrasts(valley(), *COLUMNS, [(0, 9)])
    with pytest.raises(ValueError, match="no pairs"):
        planned_contrasts(valley(), *COLUMNS, [])
    with pytest.raises(ValueError, match="at least 2"):
        planned_contrasts(valley(1), *COLUMNS, [(0, 1)])
    two = planned_contrasts(valley(2), *COLUMNS, [(0, 1)]).iloc[0]
    assert two["df"] == 1
