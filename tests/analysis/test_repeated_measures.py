"""Repeated measures against published answers, independent computations, and the cases that go wrong elsewhere."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
import statsmodels.api as sm
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import linalg, stats
from statsmodels.stats.anova import AnovaRM

from trajlab.analysis.repeated_measures import (
    compare_tests,
    friedman,
    mixed_model,
    permutation_test,
    rm_anova,
    sign_flip_test,
    trend_test,
)
from trajlab.analysis.statistics.sums_of_squares import decompose

GOLDEN = Path(__file__).parent.parent / "golden"
TEXTBOOKS = json.loads((GOLDEN / "rm_anova.json").read_text())
OTHERS = json.loads((GOLDEN / "other_statistics.json").read_text())
COLUMNS = ("loss", "interval", "seed")


def long(rows: object) -> pd.DataFrame:
    y_SK = np.asarray(rows, float)
    n, k = y_SK.shape
    return pd.DataFrame(
        {"seed": np.repeat(np.arange(n), k), "interval": np.tile(np.arange(k), n), "loss": y_SK.ravel()}
    )


def printed(value: float, digits: str) -> str:
    """The value as it would be printed with as many decimals as ``digits`` has."""
    return f"{value:.{len(digits.partition('.')[2])}f}"


def walk(n: int = 6, k: int = 21, seed: int = 0) -> pd.DataFrame:
    return long(np.random.default_rng(seed).standard_normal((n, k)).cumsum(1))


@pytest.mark.parametrize("name", TEXTBOOKS)
def test_textbook_tables_to_the_printed_digits(name: str) -> None:
    rows, published = TEXTBOOKS[name]["rows"], TEXTBOOKS[name]["published"]
    anova = rm_anova(long(rows), *COLUMNS, n_bootstrap=0)
    parts = decompose(np.asarray(rows, float)[None])
    found = {f"ss_{p}": float(getattr(parts, f"{p}_B")[0]) for p in ("effect", "subject", "error")}
    found |= {f: getattr(anova, f) for f in vars(anova)}
    if anova.mauchly:
        found |= {"mauchly_w": anova.mauchly.w, "mauchly_chi2": anova.mauchly.chi2, "mauchly_p": anova.mauchly.p}
    assert {key: printed(found[key], digits) for key, digits in published.items()} == published


@pytest.mark.parametrize("name", TEXTBOOKS)
def test_textbook_tables_by_an_independent_route(name: str) -> None:
    """F by statsmodels; ε̂ and Mauchly's W from the eigenvalues of Helmert contrasts; p from the definition."""
    rows = np.asarray(TEXTBOOKS[name]["rows"], float)
    anova = rm_anova(long(rows), *COLUMNS, n_bootstrap=0)
    n, k = rows.shape
    table = AnovaRM(long(rows), "loss", "seed", ["interval"]).fit().anova_table
    assert anova.f == pytest.approx(table["F Value"].iloc[0], rel=1e-10)
    assert anova.p_uncorrected == pytest.approx(table["Pr > F"].iloc[0], rel=1e-8)
    contrasts = linalg.helmert(k)
    roots = np.linalg.eigvalsh(contrasts @ np.cov(rows.T) @ contrasts.T)
    eps = roots.sum() ** 2 / ((k - 1) * np.square(roots).sum())
    assert anova.eps_gg == pytest.approx(eps, rel=1e-10)
    assert anova.eps_hf == pytest.approx(
        min(1, (n * (k - 1) * eps - 2) / ((k - 1) * (n - 1 - (k - 1) * eps))), rel=1e-9
    )
    assert anova.p_gg == pytest.approx(stats.f.sf(anova.f, eps * (k - 1), eps * (k - 1) * (n - 1)), rel=1e-9)
    assert anova.mauchly is not None
    assert anova.mauchly.w == pytest.approx(roots.prod() / roots.mean() ** (k - 1), rel=1e-9)


def test_pingouins_mixed_anova_equals_jamovi() -> None:
    anova = rm_anova(pg.read_dataset("mixed_anova"), "Scores", "Time", "Subject", n_bootstrap=0)
    assert (round(anova.f, 5), round(anova.p_uncorrected, 5)) == (3.91280, 0.02263)
    assert (round(anova.eta2_generalized, 5), round(anova.eta2_partial, 5)) == (0.03998, 0.06219)
    # ezANOVA
    assert (anova.eps_gg, anova.eps_hf, anova.eps_lb) == (pytest.approx(0.9987509, abs=1e-7), 1.0, 0.5)
    assert anova.mauchly is not None
    assert (round(anova.mauchly.w, 3), round(anova.mauchly.p, 3)) == (0.999, 0.964)


def test_pingouins_wide_set_equals_jamovi_once_holes_are_left_out_by_hand() -> None:
    wide = pg.read_dataset("rm_anova_wide")
    frame = wide.rename_axis("subject").reset_index().melt("subject", var_name="time", value_name="score")
    with pytest.raises(ValueError, match="not finite"):
        rm_anova(frame, "score", "time", "subject")
    complete = frame[frame["subject"].isin(wide.dropna().index)]
    anova = rm_anova(complete, "score", "time", "subject", n_bootstrap=0)
    assert (round(anova.f, 5), round(anova.p_uncorrected, 5), round(anova.p_gg, 5)) == (5.20065, 0.00656, 0.01670)
    assert (round(anova.eps_gg, 5), round(anova.eta2_generalized, 5)) == (0.69433, 0.34639)
    assert round(anova.eta2_partial, 5) == 0.39397
    assert anova.mauchly is not None
    assert round(anova.mauchly.w, 5) == 0.30678


def test_pingouins_two_way_set_averaged_over_time_equals_ezanova() -> None:
    frame = pg.read_dataset("rm_anova2")
    with pytest.raises(ValueError, match="more than once"):
        rm_anova(frame, "Performance", "Metric", "Subject")
    mean = frame.groupby(["Subject", "Metric"], as_index=False)["Performance"].mean()
    anova = rm_anova(mean, "Performance", "Metric", "Subject", n_bootstrap=0)
    assert anova.eps_gg == pytest.approx(0.9691030, abs=1e-7)
    assert anova.eps_hf == 1.0
    assert anova.mauchly is not None
    assert anova.mauchly.p == pytest.approx(0.8784418, abs=1e-6)


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.integers(2, 8), st.integers(2, 12), st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(-1e4, 1e4))
def test_nothing_changes_with_units_offsets_or_order(n: int, k: int, seed: int, scale: float, offset: float) -> None:
    rng = np.random.default_rng(seed)
    y_SK = rng.standard_normal((n, k)).cumsum(1)
    shifted = long(scale * y_SK + scale * rng.standard_normal((n, 1)) + offset).sample(frac=1, random_state=seed)
    a, b = (rm_anova(frame, *COLUMNS, n_bootstrap=0) for frame in (long(y_SK), shifted))
    assert b.f == pytest.approx(a.f, rel=1e-5)
    assert b.eps_gg == pytest.approx(a.eps_gg, rel=1e-5)
    assert sign_flip_test(shifted, *COLUMNS) == sign_flip_test(long(y_SK), *COLUMNS)
    assert 1 / (k - 1) - 1e-12 <= a.eps_gg <= min(1, (n - 1) / (k - 1)) + 1e-12


def test_the_pingouin_table_and_the_vectorised_one_agree() -> None:
    frame = walk(9, 15)
    anova = rm_anova(frame, *COLUMNS, n_bootstrap=0)
    parts = decompose(frame["loss"].to_numpy().reshape(1, 9, 15))
    assert anova.f == pytest.approx(parts.f_B[0], rel=1e-11)
    assert anova.eta2_generalized == pytest.approx(parts.eta2_generalized_B[0], rel=1e-11)


def test_fewer_seeds_than_intervals_leave_mauchly_undefined_and_every_correction_in_place() -> None:
    anova = rm_anova(walk(6, 21), *COLUMNS)
    assert anova.mauchly is None
    assert anova.eps_gg <= 5 / 20
    assert anova.p_uncorrected != anova.p_gg
    assert rm_anova(walk(20, 21), *COLUMNS, n_bootstrap=0).mauchly is None  # n = k − 1: still singular
    assert rm_anova(walk(22, 21), *COLUMNS, n_bootstrap=0).mauchly is not None


def test_two_intervals_are_a_paired_t_test() -> None:
    frame = walk(7, 2)
    y_SK = frame["loss"].to_numpy().reshape(7, 2)
    t, p = stats.ttest_rel(y_SK[:, 0], y_SK[:, 1])
    anova = rm_anova(frame, *COLUMNS)
    assert anova.f == pytest.approx(t**2)
    assert (anova.eps_gg, anova.eps_hf, anova.eps_lb, anova.mauchly) == (1, 1, 1, None)
    assert anova.p_gg == pytest.approx(p) == anova.p_uncorrected
    assert not mixed_model(frame, *COLUMNS).converged


def test_two_seeds_have_no_huynh_feldt() -> None:
    anova = rm_anova(walk(2, 21), *COLUMNS)
    assert np.isnan(anova.eps_hf)
    assert np.isnan(anova.p_hf)
    assert anova.eps_gg == pytest.approx(0.05)


def test_holes_duplicates_and_infinities_are_named() -> None:
    frame = walk(3, 4)
    with pytest.raises(ValueError, match=r"1 cells are missing: \(seed=1, interval=2\)"):
        rm_anova(frame[(frame["seed"] != 1) | (frame["interval"] != 2)], *COLUMNS)
    with pytest.raises(ValueError, match=r"more than once.*\(seed=0, interval=0\)"):
        sign_flip_test(pd.concat([frame, frame.head(1)]), *COLUMNS)
    for bad in (np.inf, -np.inf, np.nan):
        broken = frame.assign(loss=frame["loss"].where(frame.index != 5, bad))
        with pytest.raises(ValueError, match=r"not finite.*\(seed=1, interval=1\)"):
            permutation_test(broken, *COLUMNS)
    with pytest.raises(KeyError, match="no column bpb"):
        rm_anova(frame, "bpb", "interval", "seed")


def test_one_seed_and_constant_data_are_errors_with_a_reason() -> None:
    with pytest.raises(ValueError, match="1 seed: this needs at least 2"):
        rm_anova(walk(1, 5), *COLUMNS)
    with pytest.raises(ValueError, match="no error variance"):
        rm_anova(long(np.full((4, 5), 0.1)), *COLUMNS)
    with pytest.raises(ValueError, match="no error variance"):  # identical curves
        rm_anova(long(np.tile(np.linspace(8, 3, 7) / 3, (4, 1))), *COLUMNS)
    assert sign_flip_test(long(np.full((4, 5), 0.1)), *COLUMNS) == 1.0


@pytest.mark.parametrize(("n", "k"), [(200, 21), (6, 1000), (200, 1000)])
def test_large_grids(n: int, k: int) -> None:
    frame = walk(n, k)
    anova = rm_anova(frame, *COLUMNS, n_bootstrap=0)
    assert 0 <= anova.p_gg <= 1
    assert 0 <= sign_flip_test(frame, *COLUMNS, n_resamples=999) <= 1
    assert 0 <= permutation_test(frame, *COLUMNS, n_permutations=19) <= 1
    assert mixed_model(frame, *COLUMNS).phi > 0.9


def test_sign_flips_enumerate_what_they_say() -> None:
    frame = walk(5, 8, seed=2)
    curves_SK = frame["loss"].to_numpy().reshape(5, 8)
    curves_SK = curves_SK - curves_SK.mean(1, keepdims=True)
    signs = np.array(np.meshgrid(*[[1, -1]] * 5)).reshape(5, -1).T
    flipped = np.square((signs @ curves_SK) / 5).sum(1)
    p = sign_flip_test(frame, *COLUMNS)
    observed = np.square(curves_SK.mean(0)).sum()
    assert p == np.mean(flipped >= observed * (1 - 1e-9))
    assert p.statistic == pytest.approx(observed)
    assert (p.exact, p.n_resamples, p.smallest) == (True, 32, 2 / 32)


def test_a_clear_effect_gives_the_smallest_sign_flip_p() -> None:
    effect = walk(6, 21)["loss"].to_numpy().reshape(6, 21) + 100 * np.linspace(0, 1, 21)
    assert sign_flip_test(long(effect), *COLUMNS) == 2 / 64


def test_fourteen_seeds_are_exact_fifteen_are_drawn_by_seed() -> None:
    assert sign_flip_test(walk(14), *COLUMNS).n_resamples == 2**14
    drawn = sign_flip_test(walk(15), *COLUMNS, seed=3)
    assert not drawn.exact
    assert drawn == sign_flip_test(walk(15), *COLUMNS, seed=3)
    exact_like = np.mean([sign_flip_test(walk(15), *COLUMNS, seed=s) for s in range(5)])
    assert drawn == pytest.approx(exact_like, abs=0.03)


def test_permutation_p_follows_its_definition_and_its_seed() -> None:
    frame = walk()
    p = permutation_test(frame, *COLUMNS, n_permutations=999, seed=1)
    assert p == permutation_test(frame, *COLUMNS, n_permutations=999, seed=1)
    assert (p * 1000) % 1 == pytest.approx(0, abs=1e-9) or (p * 1000) % 1 == pytest.approx(1)
    assert permutation_test(long(np.full((3, 4), 2.0)), *COLUMNS, n_permutations=99) == 1.0


def test_permutation_agrees_with_the_parametric_p_on_white_noise() -> None:
    frame = long(np.random.default_rng(4).standard_normal((8, 6)))
    p = permutation_test(frame, *COLUMNS, n_permutations=4999)
    assert p == pytest.approx(rm_anova(frame, *COLUMNS, n_bootstrap=0).p_uncorrected, abs=0.03)


def test_9999_permutations_of_six_by_twentyone_in_half_a_second() -> None:
    frame, took = walk(), []
    for _ in range(3):
        start = time.thread_time()
        permutation_test(frame, *COLUMNS, n_permutations=9999)
        took.append(time.thread_time() - start)
    assert min(took) < 0.5


def test_friedman_equals_hollander_and_wolfe() -> None:
    golden = OTHERS["friedman_hollander_wolfe"]
    result = friedman(long(golden["rows"]), *COLUMNS)
    assert {k: printed(getattr(result, k), v) for k, v in golden["published"].items()} == golden["published"]
    n, k = np.shape(golden["rows"])
    assert result.kendall_w == pytest.approx(result.chi2 / (n * (k - 1)))
    assert friedman(long(np.tile(np.arange(5), (4, 1)) + np.zeros((4, 1))), *COLUMNS).kendall_w == pytest.approx(1)


def test_trend_test_is_a_t_test_of_each_seeds_polynomial_coefficient() -> None:
    frame = walk(6, 9)
    y_SK = frame["loss"].to_numpy().reshape(6, 9)
    slopes = [np.polyfit(np.arange(9), y, 1)[0] for y in y_SK]
    curvatures = [np.polyfit(np.arange(9), y, 2)[0] for y in y_SK]
    trend = trend_test(frame, *COLUMNS)
    assert trend.t_Q == pytest.approx([stats.ttest_1samp(x, 0).statistic for x in (slopes, curvatures)])
    assert trend.p == pytest.approx(min(1, 2 * min(trend.p_Q)))
    with pytest.raises(ValueError, match="degree 9: 9 intervals allow 1 to 8"):
        trend_test(frame, *COLUMNS, degree=9)


def ar1_grid(n: int, k: int, phi: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise_SK = rng.standard_normal((n, k))
    noise_SK[:, 1:] *= np.sqrt(1 - phi**2)
    for t in range(1, k):
        noise_SK[:, t] += phi * noise_SK[:, t - 1]
    return 0.5 * noise_SK + 2 * rng.standard_normal((n, 1)) + np.sin(np.arange(k))


def test_the_mixed_model_recovers_planted_parameters() -> None:
    model = mixed_model(long(ar1_grid(150, 30, 0.6, 1)), *COLUMNS)
    assert model.converged
    assert model.phi == pytest.approx(0.6, abs=0.03)
    assert model.sd_residual == pytest.approx(0.5, abs=0.03)
    assert model.sd_seed == pytest.approx(2, abs=0.3)


def test_the_mixed_model_equals_statsmodels_on_whitened_data() -> None:
    """Whitened at φ̂, AR(1) residuals are independent and MixedLM fits the same model: same variances, same F."""
    n, k = 8, 6
    y_SK = ar1_grid(n, k, 0.5, 5)
    model = mixed_model(long(y_SK), *COLUMNS)
    order = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    whiten = np.linalg.inv(np.linalg.cholesky(model.phi**order))
    fixed = np.kron(np.ones((n, 1)), whiten)
    fit = sm.MixedLM(
        (y_SK @ whiten.T).ravel(), fixed, np.repeat(np.arange(n), k), exog_re=np.tile(whiten.sum(1), n)[:, None]
    ).fit(reml=True, method="lbfgs")
    assert model.sd_residual == pytest.approx(np.sqrt(fit.scale), rel=1e-3)
    assert model.sd_seed == pytest.approx(np.sqrt(fit.cov_re[0, 0]), rel=1e-3)
    contrasts = np.eye(k)[1:] - np.eye(k)[0]
    wald = fit.f_test(np.hstack([contrasts, np.zeros((k - 1, 1))])) if len(fit.params) > k else fit.f_test(contrasts)
    assert model.f == pytest.approx(float(np.squeeze(wald.fvalue)), rel=1e-2)


def test_the_mixed_models_phi_maximises_the_restricted_likelihood() -> None:
    """Against a dense evaluation of the likelihood, with no closed form, around the estimate."""
    n, k = 7, 9
    y_SK = ar1_grid(n, k, 0.4, 8)
    model = mixed_model(long(y_SK), *COLUMNS)
    residual_SK = y_SK - y_SK.mean(0)
    order = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))

    def likelihood(phi: float, residual: float, seed: float) -> float:
        v = residual**2 * phi**order + seed**2
        quadratic = np.einsum("si,ij,sj->", residual_SK, np.linalg.inv(v), residual_SK)
        return -0.5 * ((n - 1) * (np.linalg.slogdet(v)[1] + k * np.log(2 * np.pi)) + quadratic)

    best = likelihood(model.phi, model.sd_residual, model.sd_seed)
    assert model.log_likelihood == pytest.approx(best, rel=1e-9)
    for step in (0.97, 1.03):
        assert likelihood(model.phi * step, model.sd_residual, model.sd_seed) < best
        assert likelihood(model.phi, model.sd_residual * step, model.sd_seed) < best
        assert likelihood(model.phi, model.sd_residual, model.sd_seed * step) < best


def test_residuals_without_a_level_are_reported_as_not_converged() -> None:
    frame = walk(10, 100)
    model = mixed_model(frame.assign(loss=frame.groupby("seed")["loss"].cumsum()), *COLUMNS)
    assert not model.converged
    assert "random walk" in model.message


def test_all_tests_side_by_side() -> None:
    table = compare_tests(walk(), *COLUMNS, n_permutations=99)
    assert len(table) == 9
    assert table["p"].between(0, 1).all()
    few = compare_tests(walk(3), *COLUMNS, n_permutations=99).set_index("test")
    assert "can't reject: p ≥ 0.25" in few.loc["sign flips of whole curves", "advice"]


def test_categories_and_strings_are_labels_like_any_other() -> None:
    frame = walk(5, 4)
    named = frame.assign(
        seed=frame["seed"].map("s{}".format).astype("category").cat.add_categories("ghost"),
        interval=frame["interval"].map("t{}".format),
    )
    assert rm_anova(named, *COLUMNS, n_bootstrap=0) == rm_anova(frame, *COLUMNS, n_bootstrap=0)
