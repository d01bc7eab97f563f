"""Single questions: what is planted is found, and where nothing is planted nothing is."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.analysis.task_items.made import CHECKPOINTS, learning, rows, runs
from tests.benchmarks.paired_items import emergence_rates, link_errors, rejected
from trajlab.analysis.report.sections import task_items as task_items_section
from trajlab.analysis.task_items import (
    agreement,
    compare_items,
    emergence,
    fit_link,
    item_grid,
    item_trends,
    mcnemar,
    paired_permutation,
    smooth_companion,
)
from trajlab.analysis.task_items.paired import tango
from trajlab.analysis.token_trends.chance import ar1


def test_a_grid_is_the_rows_in_order() -> None:
    margin_MC = learning(0)
    shuffled = rows("m", margin_MC).sample(frac=1, random_state=0)
    grid = item_grid(shuffled)
    np.testing.assert_allclose(grid.margin_MC, margin_MC, atol=1e-12)
    np.testing.assert_array_equal(grid.correct_MC, margin_MC > 0)
    assert grid.checkpoints["tokens"].tolist() == [1000 * c for c in range(CHECKPOINTS)]
    first = shuffled[(shuffled["item"] == 0) & (shuffled["interval"] == 0)].iloc[0]
    expected = -first["gold_log_likelihood"] / np.log(2) / first["option_bytes"][first["gold"]]
    assert grid.bits_MC[0, 0] == pytest.approx(expected)


def test_the_unit_of_a_margin_is_that_of_the_choices() -> None:
    frame = rows("m", learning(0))
    by_sum = [float(np.argmax(o) == g) for o, g in zip(frame["option_log_likelihoods"], frame["gold"], strict=True)]
    assert np.mean(by_sum) != frame["correct"].mean()
    grid = item_grid(frame.assign(correct=by_sum))
    np.testing.assert_array_equal(grid.margin_MC > 0, grid.correct_MC > 0)


def test_what_is_wrong_with_rows_is_said() -> None:
    frame = rows("m", learning(0))
    holed = item_grid(frame[(frame["interval"] != 3) | (frame["item"] != 5)])
    assert holed.checkpoints["interval"].tolist() == [0, 1, 2, *range(4, CHECKPOINTS)], "a checkpoint with a hole goes"
    with pytest.raises(ValueError, match="stands more than once"):
        item_grid(pd.concat([frame, frame.head(1)]))
    with pytest.raises(ValueError, match="rows of 2 runs"):
        item_grid(pd.concat([frame, rows("n", learning(1))]))
    changed = frame.assign(digest=frame["digest"].where((frame["interval"] != 3) | (frame["item"] != 5), "other"))
    with pytest.raises(ValueError, match="not the same at all checkpoints"):
        item_grid(changed)
    a, b = item_grid(frame).at(0), item_grid(frame.assign(digest="x" + frame["digest"])).at(0)
    with pytest.raises(ValueError, match=r"another one in the second \(40 are\)"):
        compare_items(a, b)
    with pytest.raises(ValueError, match="no question in common"):
        compare_items(a, b.assign(task="other"))


# ---- paired tests


def test_mcnemar_is_the_binomial_and_its_interval_tangos() -> None:
    first, second = np.repeat([1, 1, 0, 0], [30, 4, 12, 20]), np.repeat([1, 0, 1, 0], [30, 4, 12, 20])
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second, found.n) == (4, 12, 66)
    assert found.p == pytest.approx(2 * stats.binom.cdf(4, 16, 0.5))
    # Tango's test: the limits are where the score is the normal's quantile
    assert tango(0, 0, 50)[1] == pytest.approx(1.959964**2 / (50 + 1.959964**2), rel=1e-5)
    assert tango(12, 4, 66) == pytest.approx((-found.high, -found.low))
    assert found.low < found.difference == 8 / 66 < found.high
    assert mcnemar([1, 0], [1, 0]).p == 1


def test_sign_flips_of_right_and_wrong_are_mcnemars() -> None:
    rng = np.random.default_rng(3)
    first, second = (rng.random((2, 60)) < [[0.5], [0.7]]).astype(float)
    exact, flips = mcnemar(first, second), paired_permutation(first, second, n_resamples=20_000)
    assert flips.p == pytest.approx(exact.p, abs=0.01)
    assert flips.difference == exact.difference


@pytest.mark.parametrize("test", [mcnemar, paired_permutation])
def test_what_is_not_paired_is_refused(test) -> None:
    with pytest.raises(ValueError, match="the same questions"):
        test([1, 0], [1, 0, 1])
    with pytest.raises(ValueError, match="not finite"):
        test([1, np.nan], [1, 0])


def test_error_and_power_are_those_of_the_page() -> None:
    """A thin slice of `tests.benchmarks.paired_items`, whose 1,000 data sets stand in docs/task_items.md."""
    same = rejected(120, 100, 0.0)
    assert (
        max(same["McNemar"], same["sign flips, accuracy"], same["sign flips, bits"]) <= 11
    )  # 6 % and three standard errors
    other = rejected(40, 500, 0.3)
    assert other["McNemar"] > other["unpaired z"] + 10
    assert min(same["interval holds the truth"], other["interval holds the truth"]) >= 87


def test_two_models_are_compared_by_task_and_over_all() -> None:
    both = {r: pd.concat([rows(r, learning(s, ahead=a)), rows(r, learning(s + 9, ahead=a), "u")])
            for s, (r, a) in enumerate({"m": 0.0, "n": 5.0}.items())}  # fmt: skip
    m, n = (item_grid(f) for f in both.values())
    table = compare_items(m.at(-1), n.at(-1)).set_index("task")
    assert list(table.index) == ["t", "u", "all questions"]
    assert (table["difference"] > 0.1).all()
    assert (table["p_holm"].dropna() <= 0.05).all()
    assert (table["bits_high"] < 0).all(), "the better one pays fewer bits"
    assert table.loc["all questions", "n"] == 80
    assert pd.isna(table.loc["all questions", "p_holm"])
    same = compare_items(m.at(-1), m.at(-1)).iloc[0]
    assert (same["difference"], same["p"], same["p_bits"]) == (0, 1, 1)


# ---- along training


def test_each_way_of_learning_is_named_with_its_checkpoint() -> None:
    C = 20
    t = np.arange(C)
    planted = {
        "always": np.full(C, 1.0), "never": np.full(C, -1.0), "learned": np.where(t >= 7, 1, -1),
        "forgotten": np.where(t < 12, 1, -1), "relearned": np.where((t < 6) | (t >= 14), 1, -1),
        "undecided": np.zeros(C),
    }  # fmt: skip
    shapes = np.repeat(list(planted.values()), 30, axis=0) * 6.0
    found = emergence(shapes + ar1(0.3, shapes.shape, np.random.default_rng(0)))
    kinds = found["kind"].to_numpy().reshape(6, 30)
    for name, own in zip(planted, kinds, strict=True):
        assert (own == name).mean() >= 0.75, name
    at = found[["learned", "forgotten"]].to_numpy().reshape(6, 30, 2)
    assert np.median(at[2, :, 0]) == 7
    assert np.median(at[3, :, 1]) == 12
    assert np.median(at[4], axis=0).tolist() == [14, 6]
    assert np.isnan(emergence(np.where(t < 3, np.nan, 1.0)[None])["noise"][0])
    with pytest.raises(ValueError, match="6 or more checkpoints"):
        emergence(shapes[:, :5])


@pytest.mark.parametrize(("phi", "shared"), [(0.3, 0.0), (0.8, 0.5), (1.0, 0.0)])
def test_questions_without_a_trend_are_hardly_ever_learned(phi: float, shared: float) -> None:
    rates = emergence_rates(4, 20, phi, shared)
    assert rates["false"] <= 9
    assert rates["found"] >= (80 if phi < 1 else 25)


def test_trends_of_bits_are_the_token_trends() -> None:
    ramp = np.linspace(-0.5, 0.5, CHECKPOINTS) + 0.05 * np.random.default_rng(0).standard_normal((50, CHECKPOINTS))
    trend, excess = item_trends(item_grid(rows("m", ramp)))
    assert (trend == "downward").mean() > 0.8
    assert excess.high < 0.2
    noise = item_grid(rows("m", 0.3 * ar1(0.5, (60, CHECKPOINTS), np.random.default_rng(1))))
    assert (item_trends(noise)[0].isin(["downward", "upward"])).mean() <= 0.1


def test_bits_move_before_accuracy_does() -> None:
    ramp = np.linspace(-3, -0.2, CHECKPOINTS) + 0.1 * np.random.default_rng(0).standard_normal((50, CHECKPOINTS))
    found = smooth_companion(item_grid(rows("m", ramp)))
    assert found["accuracy"].iloc[0] == found["accuracy"].iloc[-2] == 0
    assert found["bits"].is_monotonic_decreasing
    assert (found["bits_change_z"].dropna() < -3).all()
    assert found["bits_low"].lt(found["bits"]).all()


# ---- agreement and link


def test_agreement_is_kappa() -> None:
    rng = np.random.default_rng(0)
    level = rng.standard_normal(2000)
    a, b = (level + 0.5 * rng.standard_normal(2000) > 0 for _ in range(2))
    found, chance = agreement(a, b), agreement(a, rng.permutation(b))
    assert found.low > 0.5
    assert chance.low < 0 < chance.high
    assert chance.observed == pytest.approx(chance.expected, abs=0.04)
    assert np.isnan(agreement([1, 1], [1, 1]).kappa)


def test_the_link_gives_back_what_was_planted() -> None:
    held = link_errors(6, -1.0)
    assert held["mean"] == pytest.approx(-1.0, abs=0.1)
    assert min(held["slope"], held["item sd"], held["intercept"]) >= 60
    assert link_errors(6, 0.0)["slope"] >= 60, "no slope where none is planted"


def test_a_links_accuracy_is_that_of_the_data() -> None:
    rng, loss = np.random.default_rng(0), np.linspace(1, 6, 15)
    p = 0.25 + 0.75 / (1 + np.exp(2 * (loss - 3) + rng.standard_normal((1500, 1))))
    y = (rng.random(p.shape) < p).astype(float)
    link = fit_link(y, loss, np.full(1500, 0.25))
    np.testing.assert_allclose(link.accuracy(loss, 0.25), y.mean(0), atol=0.04)
    assert link.halfway == pytest.approx(3, abs=0.1)
    assert link.accuracy(50.0, 0.25) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="same loss"):
        fit_link(y, np.ones(15), np.full(1500, 0.25))


# ---- the report


def test_the_section_compares_follows_and_links() -> None:
    part = task_items_section.section(runs())
    assert part is not None
    assert [b.words for b in part.blocks if b.kind == "problem"] == []
    captions = [b.words for b in part.blocks if b.kind == "table"]
    starts = ["At the last", "Checkpoints of one", "Models at", "Do they get", "Share of", "Trends of", "From loss"]
    assert [c.startswith(s) for c, s in zip(captions, starts, strict=True)] == [True] * 7
    models = next(b.frame for b in part.blocks if b.words.startswith("Models at"))
    assert models is not None
    assert models["task"].tolist() == ["t", "u", "all questions"]
    assert set(models["first"]) == {"small"}
    assert (models["accuracy_difference"] > 0).all()
    slopes = next(b.frame for b in part.blocks if b.words.startswith("From loss"))
    assert slopes is not None
    assert (slopes[slopes["parameter"] == "slope"]["ci_high"] < 0).all()
    assert task_items_section.section(type(runs())({})) is None
