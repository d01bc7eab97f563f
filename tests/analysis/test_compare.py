"""Two conditions held against each other: planted stretches, nulls, real noise between identical runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.compare import compare, compare_on_other_text, mean_band
from trajlab.analysis.statistics.max_t import paired_max_t, unpaired_max_t


def walks(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape).cumsum(-1)


def frame(y_SK: np.ndarray, name: str, first_seed: int = 0) -> pd.DataFrame:
    rows = [
        {
            "run": f"seed={s},lr={name}",
            "seed": s,
            "variant": "raw",
            "split": "valid",
            "interval": t,
            "tokens": 100 * t,
            "loss": y,
        }
        for s, curve in enumerate(y_SK, first_seed)
        for t, y in enumerate(curve)
    ]
    return pd.DataFrame(rows)


def planted(seeds: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shared = walks((seeds, 20), rng)
    a, b = (shared + 0.1 * rng.standard_normal((seeds, 20)) for _ in range(2))
    b[:, 6:12] -= 1
    return a, b


def test_a_planted_stretch_is_found_from_where_to_where() -> None:
    a, b = planted()
    found = compare(pd.concat([frame(a, "1"), frame(b, "2")]), "lr=1", "lr=2")
    assert found.paired
    (row,) = found.table().to_dict("records")
    assert (row["from_interval"], row["to_interval"], row["from_tokens"], row["to_tokens"]) == (6, 11, 600, 1100)
    assert (row["b_is"], found.holds) == ("lower", "seeds")
    assert found.p == pytest.approx(2 / 2**8)


def test_other_seeds_are_compared_unpaired_and_see_less() -> None:
    a, b = planted()
    found = compare(pd.concat([frame(a, "1"), frame(b, "2", first_seed=100)]), "lr=1", "lr=2")
    assert not found.paired
    assert found.p > 0.05  # the walks that pairing takes out are larger than the effect
    with pytest.raises(ValueError, match="share 4 values of seed"):
        compare(pd.concat([frame(a, "1"), frame(b, "2", first_seed=4)]), "lr=1", "lr=2")


def test_few_runs_are_judged_by_a_rule_that_can_reject_and_says_so() -> None:
    a, b = planted(3)
    found = compare(pd.concat([frame(a, "1"), frame(b - 5, "2")]), "lr=1", "lr=2")
    assert "Bonferroni" in found.method
    assert found.p < 0.05


def test_identical_starts_are_no_difference() -> None:
    a, b = planted()
    a[:, 0] = b[:, 0] = 8.0
    found = compare(pd.concat([frame(a, "1"), frame(b, "2")]), "lr=1", "lr=2")
    assert found.band["t"].iloc[0] == 0
    assert found.p < 0.05


def test_unknown_conditions_and_mixed_variants_are_named() -> None:
    a, b = planted()
    both = pd.concat([frame(a, "1"), frame(b, "2")])
    with pytest.raises(KeyError, match=r"lr=3.*there are 'lr=1', 'lr=2'"):
        compare(both, "lr=1", "lr=3")
    with pytest.raises(ValueError, match="variant holds ema, raw"):
        compare(pd.concat([both, both.assign(variant="ema")]), "lr=1", "lr=2")


@pytest.mark.parametrize("n", [3, 6, 10])
def test_the_error_is_kept_over_the_whole_curve(n: int) -> None:
    rng = np.random.default_rng(n)
    grids = [walks((2, n, 20), rng) for _ in range(200)]
    paired = np.mean([paired_max_t(a - b, n_resamples=199).p <= 0.05 for a, b in grids])
    unpaired = np.mean([unpaired_max_t(a, b, n_resamples=199).p <= 0.05 for a, b in grids])
    assert max(paired, unpaired) <= 0.09  # 5 % and two standard errors of 200


@pytest.mark.parametrize("n", [3, 6, 10])
def test_bands_hold_the_whole_curve(n: int) -> None:
    rng = np.random.default_rng(n)
    truth_K = np.linspace(0, 3, 20)
    inside = []
    for _ in range(200):
        found = paired_max_t(truth_K + walks((n, 20), rng))
        inside.append((np.abs(found.difference_K - truth_K) <= found.critical * found.error_K).all())
    assert np.mean(inside) >= 0.91
    band = mean_band(frame(truth_K + walks((n, 20), rng), "1"))
    assert (band["high"] > band["low"]).all()


def test_halves_of_identical_real_runs_are_called_equal(shared_data: Path) -> None:
    """A thin slice of tests/benchmarks/real_noise.py: noise between real runs is no simulation's."""
    table = pd.read_parquet(shared_data / "trajectories" / "speedrun_seeds.parquet")
    rng, called = np.random.default_rng(0), []
    for _, own in table[table["step"] > 0].groupby("group"):
        y_SK = own.pivot_table("val_loss", "run", "step").dropna(axis=1).to_numpy()
        for _ in range(5 if len(y_SK) >= 10 else 0):
            order = rng.permutation(len(y_SK))
            called.append(unpaired_max_t(y_SK[order[:5]], y_SK[order[5:10]]).p <= 0.05)
    assert len(called) >= 50
    assert np.mean(called) <= 0.12


@pytest.mark.parametrize("few", [2, 3, 6])
def test_a_spread_that_differs_is_no_difference_where_numbers_differ(few: int) -> None:
    """Two runs against eight whose spread is a third: relabelling them rejected in 77 % of data sets, three in 68 %."""
    rng = np.random.default_rng(0)
    ps = [unpaired_max_t(rng.standard_normal((few, 20)), rng.standard_normal((8, 20)) / 3).p for _ in range(100)]
    assert np.mean(np.array(ps) <= 0.05) <= 0.1
    seen = unpaired_max_t(rng.standard_normal((few, 20)), 100 + rng.standard_normal((8, 20)))
    assert seen.p <= 0.05
    assert "different numbers of runs" in seen.method


@pytest.mark.filterwarnings("error")
def test_groups_without_any_spread_are_equal_or_nothing() -> None:
    assert unpaired_max_t(np.ones((2, 5)), np.ones((3, 5))).p == 1.0
    assert unpaired_max_t(np.ones((4, 5)), np.ones((4, 5))).p == 1.0
    assert paired_max_t(np.zeros((6, 5))).p == 1.0


def with_windows(gap_W: np.ndarray, name: str, rng: np.random.Generator, seeds: int = 6) -> pd.DataFrame:
    """Three intervals of runs on 40 windows, ``gap_W`` added to each window's loss."""
    rows = []
    for s in range(seeds):
        for t in range(3):
            windows = 3 + 0.02 * rng.standard_normal(40) + gap_W
            row = {"run": f"seed={s},lr={name}", "seed": s, "variant": "raw", "split": "valid", "interval": t}
            row |= {"tokens": 100 * t, "loss": windows.mean(), "token_count": 400, "window_nll": list(10 * windows)}
            rows.append(row)
    return pd.DataFrame(rows)


def test_a_difference_on_a_few_windows_holds_for_these_windows_alone() -> None:
    """B is worse on 3 windows of 40: every seed says so, and other text might not."""
    rng = np.random.default_rng(3)
    few = np.where(np.arange(40) < 3, 1.0, 0.0)
    frame = pd.concat([with_windows(0 * few, "1", rng), with_windows(few, "2", rng)])
    on_other_seeds = compare(frame, "lr=1", "lr=2")
    on_other_text = compare_on_other_text(frame, "lr=1", "lr=2")
    assert on_other_seeds.p <= 0.05
    assert not on_other_text["differs"].any()
    assert (on_other_text["se_text"] > 5 * on_other_text["se_seeds"]).all()
    everywhere = pd.concat([with_windows(0 * few, "1", rng), with_windows(0 * few + 0.1, "2", rng)])
    found = compare_on_other_text(everywhere, "lr=1", "lr=2")
    assert found["differs"].all()
    assert found["difference"].to_numpy() == pytest.approx(0.1, abs=0.01)
    assert set(found["holds"]) == {"seeds and text"}


def test_other_seeds_or_windows_are_not_paired_over_text() -> None:
    rng, none = np.random.default_rng(4), np.zeros(40)
    a, b = with_windows(none, "1", rng), with_windows(none, "2", rng)
    with pytest.raises(ValueError, match="other values of seed"):
        compare_on_other_text(pd.concat([a, b.assign(seed=b["seed"] + 1)]), "lr=1", "lr=2")
    with pytest.raises(ValueError, match="different windows"):
        compare_on_other_text(
            pd.concat([a, b.assign(window_nll=b["window_nll"].map(lambda w: w[:20]))]), "lr=1", "lr=2"
        )
    with pytest.raises(KeyError, match="window_nll"):
        compare_on_other_text(pd.concat([a, b]).drop(columns="window_nll"), "lr=1", "lr=2")
