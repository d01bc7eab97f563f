"""Trends of single tokens: known answers, planted classes, calibration under the null."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from trajlab.analysis.token_trends import (
    READINGS,
    STARTS,
    TRENDS,
    at_matched_perplexity,
    classify_trends,
    double_descent,
    mann_kendall,
    nll_matrix,
    part_of_word,
    token_kinds,
    trace,
    trend_shares,
)


def noise(m: int, c: int, rho: float = 0.0, sd: float = 0.05, seed: int = 0) -> np.ndarray:
    """AR(1) noise of stationary standard deviation ``sd`` (M, C)."""
    rng = np.random.default_rng(seed)
    e_MC = rng.normal(size=(m, c))
    out = np.empty_like(e_MC)
    out[:, 0] = e_MC[:, 0]
    for i in range(1, c):
        out[:, i] = rho * out[:, i - 1] + np.sqrt(1 - rho**2) * e_MC[:, i]
    return sd * out


def planted(each: int = 300, c: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of every class and their labels."""
    u = np.linspace(0, 1, c)
    shapes = {
        "downward": 3 - 1.0 * u,
        "upward": 2 + 1.0 * u,
        "stagnated": np.full(c, 2.5),
        "unclassified": 2 + 1.5 * np.cos(2 * np.pi * u),  # falls and comes back: no slope, ends far off the mean
    }
    nll = np.concatenate([np.tile(s, (each, 1)) for s in shapes.values()])
    labels = np.repeat(list(shapes), each)
    return nll + noise(*nll.shape, sd=0.01, seed=seed), labels


class TestRegression:
    def test_equals_a_line_fitted_to_the_ratio(self) -> None:
        nll = 2 + noise(20, 30, sd=0.3)
        found = classify_trends(nll, start=4)
        for m in range(20):
            line = stats.linregress(np.arange(26), np.exp(nll[m, 4:] - nll[m, 4]))
            assert found["slope"][m] == pytest.approx(line.slope, rel=1e-9)
            assert found["p"][m] == pytest.approx(line.pvalue, rel=1e-9)

    def test_dividing_by_another_checkpoint_changes_no_class(self) -> None:
        nll = 2 + noise(200, 30, sd=0.3)
        shifted = nll + np.linspace(-20, 20, 200)[:, None]
        a, b = classify_trends(nll), classify_trends(shifted)
        np.testing.assert_allclose(a["p"], b["p"], rtol=1e-6)
        assert (a["trend"] == b["trend"]).all()

    def test_float32_agrees_with_float64(self) -> None:
        nll = (4 + noise(500, 30, sd=0.5)).astype(np.float32)
        a, b = classify_trends(nll), classify_trends(nll.astype(float))
        np.testing.assert_array_equal(a["p"], b["p"])

    def test_sure_tokens_keep_their_trend(self) -> None:
        """Perplexity 1.000001 and falling: tiny in absolute terms, a perfect line all the same."""
        nll = np.linspace(2e-6, 1e-6, 12)[None]
        assert classify_trends(nll)["trend"][0] == "downward"

    def test_huge_losses_do_not_overflow(self) -> None:
        found = classify_trends(np.array([[1.0, 900.0, 2.0, 1.5], [900.0, 500.0, 100.0, 1.0]]))
        assert np.isfinite(found["p"]).all()

    def test_mirrored_in_time_the_slope_of_a_level_start_changes_sign(self) -> None:
        nll, labels = planted(20)
        backwards = classify_trends(nll[:, ::-1])["trend"].to_numpy()
        assert (backwards[labels == "downward"] == "upward").all()
        assert (backwards[labels == "upward"] == "downward").all()


class TestClasses:
    def test_planted_classes_come_back(self) -> None:
        nll, labels = planted()
        found = classify_trends(nll)["trend"].to_numpy()
        for label in ("downward", "upward"):
            assert (found[labels == label] == label).mean() == 1
        for label in ("stagnated", "unclassified"):  # 5 % of a null are called significant by construction
            assert (found[labels == label] == label).mean() > 0.92

    @pytest.mark.parametrize("test", ["ols", "ar1", "mann_kendall"])
    def test_bh_leaves_planted_trends_and_clears_the_null(self, test: str) -> None:
        nll, labels = planted(c=60)
        found = classify_trends(nll, adjust="bh", test=test)["trend"].to_numpy()  # type: ignore[arg-type]
        moving = np.isin(labels, ["downward", "upward"])
        assert (found[moving] == labels[moving]).all()
        called = np.isin(found, ["downward", "upward"])
        assert (called & ~moving).sum() / called.sum() < 0.05

    def test_stagnation_is_within_five_percent_of_the_geometric_mean(self) -> None:
        inside, outside = np.log(1.049), np.log(1.051)
        shape = np.array([1.0, 0, 0, -1, -1, 0, 0, 1.0])  # no slope, geometric mean 1
        found = classify_trends(np.stack([inside * shape, outside * shape]))["trend"]
        assert list(found) == ["stagnated", "unclassified"]

    def test_a_constant_is_stagnated_with_p_one(self) -> None:
        for test in ("ols", "ar1", "mann_kendall"):
            found = classify_trends(np.full((3, 9), 2.3), test=test)  # type: ignore[arg-type]
            assert (found["trend"] == "stagnated").all()
            assert (found["p"] == 1).all()

    def test_a_start_skips_what_came_before(self) -> None:
        nll = np.concatenate([np.linspace(9, 2, 10), np.linspace(2, 3, 30)])[None]
        assert classify_trends(nll)["trend"][0] == "downward"
        assert classify_trends(nll, start=10)["trend"][0] == "upward"
        assert classify_trends(nll, start=0.25)["trend"][0] == "upward"

    def test_a_fraction_counts_training_not_checkpoints(self) -> None:
        nll = np.concatenate([np.linspace(9, 2, 10), np.linspace(2, 3, 30)])[None]
        steps = np.concatenate([2.0 ** np.arange(10), 1000 * np.arange(1.0, 31)])
        pd.testing.assert_frame_equal(
            classify_trends(nll, start=0.05, at_C=steps), classify_trends(nll, start=int(np.argmin(abs(steps - 1500))))
        )

    @given(arrays(np.float64, (5, 8), elements=st.floats(0, 20)))
    @settings(max_examples=60, deadline=None)
    def test_every_token_has_one_class_and_a_p(self, nll: np.ndarray) -> None:
        found = classify_trends(nll)
        assert found["trend"].isin(TRENDS).all()
        assert found["p"].between(0, 1).all()


class TestCalibration:
    """How often each reading calls a trend where there is none; the numbers in docs/log.md come from the same code."""

    def rate(self, rho: float, test: str, adjust: str | None = None) -> float:
        found = classify_trends(2.5 + noise(4000, 60, rho, seed=3), adjust=adjust, test=test)  # type: ignore[arg-type]
        return float(found["trend"].isin(["upward", "downward"]).mean())

    @pytest.mark.parametrize("test", ["ols", "mann_kendall"])
    def test_five_percent_on_white_noise(self, test: str) -> None:
        assert self.rate(0.0, test) == pytest.approx(0.05, abs=0.015)

    @pytest.mark.parametrize("test", ["ols", "mann_kendall"])
    def test_bh_finds_nothing_on_white_noise(self, test: str) -> None:
        assert self.rate(0.0, test, "bh") < 0.002

    def test_ols_and_mann_kendall_fail_on_autocorrelated_noise(self) -> None:
        """The published test is not to be trusted there, and BH does not save it."""
        for test in ("ols", "mann_kendall"):
            assert self.rate(0.9, test) > 0.4
            assert self.rate(0.9, test, "bh") > 0.2

    def test_effective_sample_size_takes_most_of_it_back(self) -> None:
        assert self.rate(0.0, "ar1") < 0.05
        assert self.rate(0.5, "ar1") < 0.08 < 0.2 < self.rate(0.5, "ols")
        assert self.rate(0.9, "ar1") < 0.15 < 0.4 < self.rate(0.9, "ols")

    def test_effective_sample_size_does_not_take_a_bend_for_noise(self) -> None:
        bent = 2 + np.exp(-4 * np.linspace(0, 1, 60)) + noise(500, 60, sd=0.05)
        assert (classify_trends(bent, test="ar1")["trend"] == "downward").mean() > 0.98


class TestMannKendall:
    def test_tau_and_p_equal_kendalls_with_and_without_ties(self) -> None:
        for nll in (2 + noise(30, 25, sd=1.0), np.round(2 + noise(30, 25, sd=1.0))):
            found = mann_kendall(nll)
            for m in range(30):
                tau = stats.kendalltau(np.arange(25), nll[m]).statistic
                assert found["tau"][m] == pytest.approx(0 if np.isnan(tau) else tau, abs=1e-12)

    def test_variance_with_ties_by_hand(self) -> None:
        """n = 6, one group of three and one of two: (6·5·17 − 3·2·11 − 2·1·9)/18."""
        found = mann_kendall([[1.0, 1.0, 1.0, 2.0, 2.0, 3.0]])
        assert found["s"][0] == 11
        assert found["z"][0] == pytest.approx(10 / np.sqrt((510 - 66 - 18) / 18))

    def test_more_than_255_checkpoints_do_not_overflow_a_byte(self) -> None:
        found = mann_kendall(np.arange(600.0)[None])
        assert found["s"][0] == 600 * 599 / 2
        assert found["tau"][0] == pytest.approx(1)

    def test_a_monotone_transform_changes_nothing(self) -> None:
        nll = 2 + noise(50, 20, sd=0.5)
        pd.testing.assert_frame_equal(mann_kendall(nll), mann_kendall(np.exp(nll)))


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"start": 38}, "leaves 2 checkpoints"),
            ({"start": 60}, "there are 40 checkpoints"),
            ({"start": 10.0}, "fraction of training"),
            ({"adjust": "holm"}, "adjust='holm'"),
            ({"test": "lowess"}, "test='lowess'"),
            ({"at_C": [1, 2]}, "at_C has shape"),
        ],
    )
    def test_it_says_what_is_wrong(self, change: dict, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            classify_trends(np.ones((4, 40)), **change)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_a_loss_that_is_not_finite(self, bad: float) -> None:
        nll = np.ones((4, 9))
        nll[2, 5] = bad
        for call in (classify_trends, mann_kendall):
            with pytest.raises(ValueError, match="every loss must be finite"):
                call(nll)

    def test_no_tokens_give_an_empty_frame(self) -> None:
        for test in ("ols", "ar1", "mann_kendall"):
            assert classify_trends(np.empty((0, 9)), test=test).empty  # type: ignore[arg-type]


def test_shares_of_every_start_and_reading_sum_to_one() -> None:
    nll, _ = planted(50)
    shares = trend_shares(nll)
    sums = shares.groupby(["start", "reading"])["share"].sum()
    assert len(sums) == len(STARTS) * len(READINGS)
    np.testing.assert_allclose(sums, 1)
    assert (shares.groupby(["start", "reading"])["count"].sum() == len(nll)).all()


def test_starts_that_leave_too_little_are_left_out() -> None:
    found = trend_shares(np.ones((3, 6)), starts=(0.0, 0.5, 0.9))
    assert list(found.groupby("start")["checkpoint"].first().items()) == [(0.0, 0), (0.5, 2)]


class TestDoubleDescent:
    def models(self) -> dict[str, np.ndarray]:
        """Half of the tokens rise in the small model; the large one, which goes further, brings them down again."""
        small_u, large_u = np.linspace(0, 1, 30), np.linspace(0, 2, 50)
        plain = lambda u: 4 - 1.5 * u  # noqa: E731
        odd = lambda u: 2 + np.where(u < 1, u, 2 - u)  # noqa: E731
        return {
            name: np.concatenate([np.tile(plain(u), (60, 1)), np.tile(odd(u), (40, 1))]) + noise(100, len(u), sd=0.01)
            for name, u in (("small", small_u), ("large", large_u))
        }

    def test_the_large_model_learns_again_what_the_small_one_unlearned(self) -> None:
        found = double_descent(self.models(), "small", start=0)
        assert found is not None
        assert found.selected_M[60:].all()
        assert not found.selected_M[:60].any()
        by = found.table().set_index("model")
        assert by.loc["small", "upward_share"] == 1
        assert by.loc["large", "upward_share"] < 0.5
        assert by.loc["small", "fall"] < 0.05
        assert by.loc["large", "fall"] == pytest.approx(np.e - 1, rel=0.1)

    def test_a_loss_that_only_falls_has_no_fall_after_a_rise(self) -> None:
        """From 4 to 2 without a rise: peak ÷ last less one was 6.39."""
        rng = np.random.default_rng(0)
        small = 3 + 0.3 * rng.standard_normal((200, 30))
        large = np.linspace(4, 2, 30) + 0.001 * rng.standard_normal((200, 30))
        found = double_descent({"small": small, "large": large}, "small", start=0)
        assert found is not None
        row = found.table().set_index("model").loc["large"]
        assert np.isnan(row["fall"])
        assert row["rise"] < 0.01

    def test_equal_perplexity_means_equal_treatment(self) -> None:
        models = self.models()
        level = at_matched_perplexity(trace(models, np.arange(100) >= 60))
        assert level["group_ppl"].notna().all()
        assert level["spread"].max() < 0.03

    def test_levels_that_a_model_never_reaches_are_nan(self) -> None:
        traced = pd.DataFrame({"model": "a", "checkpoint": [0, 1], "ppl": [20.0, 10.0], "group_ppl": [8.0, 2.0]})
        got = at_matched_perplexity(traced, [30, 20, np.sqrt(200), 10, 5])["group_ppl"]
        np.testing.assert_allclose(got, [np.nan, 8, 4, 2, np.nan])

    def test_the_first_crossing_counts(self) -> None:
        traced = pd.DataFrame(
            {"model": "a", "checkpoint": range(4), "ppl": [20.0, 10.0, 16.0, 8.0], "group_ppl": [8.0, 2.0, 7.0, 9.0]}
        )
        assert at_matched_perplexity(traced, [12.0])["group_ppl"][0] < 8

    def test_without_upward_tokens_there_is_none(self) -> None:
        assert double_descent({"a": np.ones((5, 9))}, "a") is None

    def test_other_probes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="same probe"):
            trace({"a": np.ones((5, 9)), "b": np.ones((4, 9))}, np.ones(5, bool))
        with pytest.raises(ValueError, match="no token"):
            trace({"a": np.ones((5, 9))}, np.zeros(5, bool))


class TestKinds:
    @pytest.mark.parametrize(
        ("piece", "kind"),
        [
            ("Ġdog", "word start"),
            ("▁dog", "word start"),
            (" dog", "word start"),
            ("gy", "continuation"),
            ("##gy", "continuation"),
            ("Ġ42", "number"),
            (".", "punctuation"),
            ('Ġ"', "punctuation"),
            ("Ċ", "space"),
            ("\n", "space"),
            ("<|endoftext|>", "special"),
            ("<", "punctuation"),
        ],
    )
    def test_part_of_word(self, piece: str, kind: str) -> None:
        assert part_of_word(piece) == kind

    def test_a_planted_dependence_is_found(self) -> None:
        trend = np.repeat(["upward", "downward"], 500)
        probes = pd.DataFrame({"frequency": np.arange(1000), "position": np.tile(np.arange(100), 10)})
        probes["token"] = np.where(np.arange(1000) % 2 == 0, "Ġa", "b")
        table = token_kinds(trend, probes, bins=2)
        by_frequency = table[
            (table["property"] == "frequency among validation targets") & (table["trend"] == "upward")
        ]["share"]
        by_position = table[(table["property"] == "position") & (table["trend"] == "upward")]
        assert list(by_frequency) == [1, 0]
        np.testing.assert_allclose(by_position["lift"], 1, atol=0.05)
        assert set(table[table["property"] == "part of word"]["level"]) == {"word start", "continuation"}
        assert (table.groupby("property")["count"].sum() == 1000).all()

    def test_refusals(self) -> None:
        with pytest.raises(ValueError, match="expected any of"):
            token_kinds(["upward"], pd.DataFrame({"colour": ["red"]}))
        with pytest.raises(ValueError, match="1 trends for 2"):
            token_kinds(["upward"], pd.DataFrame({"frequency": [1, 2]}))


class TestTable:
    def table(self) -> pd.DataFrame:
        rows = [(i, 100 * i, i, p, p + i / 10) for i in range(4) for p in range(3)]
        return pd.DataFrame(rows, columns=["interval", "tokens", "step", "probe", "nll"])

    def test_the_matrix_is_probes_by_checkpoints(self) -> None:
        shuffled = self.table().sample(frac=1, random_state=0)
        nll, marks = nll_matrix(shuffled)
        np.testing.assert_allclose(nll, np.arange(3)[:, None] + np.arange(4) / 10)
        assert list(marks["tokens"]) == [0, 100, 200, 300]

    def test_a_hole_and_a_duplicate_are_named(self) -> None:
        table = self.table()
        with pytest.raises(ValueError, match="probe 1 at interval 1 has 0 rows"):
            nll_matrix(table.drop(index=4))
        with pytest.raises(ValueError, match="probe 2 at interval 3 has 2 rows"):
            nll_matrix(pd.concat([table, table.tail(1)]))


def test_speed() -> None:
    """10⁵ tokens × 154 checkpoints × 7 starts take about 0.6 s of a core; the claim is 2 s."""
    nll = np.random.default_rng(0).normal(3, 1, size=(100_000, 154)).astype(np.float32)
    before = time.thread_time()
    for start in STARTS:
        classify_trends(nll, start)
    assert time.thread_time() - before < 2
