"""pingouin beside our answers on every golden table; where it is wrong, what it says and what a user gets instead."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from scipy import stats

from trajlab.analysis.contrasts import planned_contrasts
from trajlab.analysis.repeated_measures import friedman, rm_anova
from trajlab.analysis.stability import seed_agreement

GOLDEN = Path(__file__).parent.parent / "golden"
TABLES = {
    name: np.asarray(entry["rows"], float)
    for file in ("rm_anova.json", "other_statistics.json")
    for name, entry in json.loads((GOLDEN / file).read_text()).items()
}
COLUMNS = ("loss", "interval", "seed")


def long(y_SK: np.ndarray) -> pd.DataFrame:
    n, k = y_SK.shape
    seeds, intervals = np.repeat(np.arange(n), k), np.tile(np.arange(k), n)
    return pd.DataFrame({"seed": seeds, "interval": intervals, "loss": y_SK.ravel()})


def of_pingouin(y_SK: np.ndarray) -> pd.Series:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pg.rm_anova(
            long(y_SK), dv="loss", within="interval", subject="seed", correction=True, detailed=True
        ).iloc[0]


def test_all_golden_tables_are_here() -> None:
    assert len(TABLES) == 7


@pytest.mark.parametrize("name", TABLES)
def test_the_anova_is_pingouins_on_every_golden_table(name: str) -> None:
    y_SK = TABLES[name]
    k = y_SK.shape[1]
    ours, theirs = rm_anova(long(y_SK), *COLUMNS, n_bootstrap=0), of_pingouin(y_SK)
    assert ours.f == pytest.approx(theirs["F"], rel=1e-9)
    assert ours.p_uncorrected == pytest.approx(theirs["p_unc"], rel=1e-9)
    assert ours.eps_gg == pytest.approx(theirs["eps"], rel=1e-9)
    assert ours.eta2_generalized == pytest.approx(theirs["ng2"], rel=1e-9)
    wide = pd.DataFrame(y_SK)
    if k > 2:
        assert ours.p_gg == pytest.approx(theirs["p_GG_corr"], rel=1e-6)
        assert ours.eps_hf == pytest.approx(pg.epsilon(wide, correction="hf"), rel=1e-9)
        assert ours.eps_lb == pytest.approx(pg.epsilon(wide, correction="lb"), rel=1e-9)
    if ours.mauchly is not None:
        w, chi2, p = (getattr(pg.sphericity(wide), name) for name in ("W", "chi2", "pval"))
        assert (ours.mauchly.w, ours.mauchly.chi2, ours.mauchly.p) == pytest.approx((w, chi2, p), rel=1e-9)


@pytest.mark.parametrize("name", TABLES)
def test_friedman_and_contrasts_are_pingouins_on_every_golden_table(name: str) -> None:
    frame, k = long(TABLES[name]), TABLES[name].shape[1]
    ours = friedman(frame, *COLUMNS)
    theirs = pg.friedman(frame, dv="loss", within="interval", subject="seed").iloc[0]
    assert (ours.chi2, ours.p, ours.kendall_w) == pytest.approx((theirs["Q"], theirs["p_unc"], theirs["W"]), rel=1e-9)
    table = planned_contrasts(frame, *COLUMNS, [(0, i) for i in range(1, k)])
    for row in table.itertuples():
        a, b = TABLES[name][:, 0], TABLES[name][:, row.b]
        assert row.p == pytest.approx(stats.ttest_rel(b, a).pvalue)
        assert row.g_av == pytest.approx(pg.compute_effsize(b, a, paired=True, eftype="hedges"), rel=1e-9)
    np.testing.assert_allclose(table["p_holm"], pg.multicomp(table["p"].to_numpy(), method="holm")[1])


@pytest.mark.parametrize("name", TABLES)
def test_the_agreement_of_seeds_is_pingouins_on_every_golden_table(name: str) -> None:
    """Fault 1: its limits are rounded to two digits, and take neighbouring intervals as independent; ours are another's."""
    frame = long(TABLES[name])
    table = pg.intraclass_corr(frame, targets="interval", raters="seed", ratings="loss").set_index("Type")
    column = next(c for c in table.columns if c.startswith("CI"))
    theirs = table.loc[[t for t in table.index if t in ("ICC2", "ICC(A,1)")]].iloc[0]
    ours = seed_agreement(frame, initial=True, n_resamples=200)
    assert ours["icc"] == pytest.approx(theirs["ICC"], rel=1e-9)
    limits = np.asarray(theirs[column], float)
    np.testing.assert_array_equal(limits, limits.round(2))
    assert ours["ci_low"] != round(ours["ci_low"], 2) or ours["ci_low"] == 0


def walk(n: int, k: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, k)).cumsum(1)


@pytest.mark.parametrize(("n", "k"), [(6, 21), (4, 5), (20, 21)])
def test_fault_2_sphericity_is_judged_where_it_is_not_defined(n: int, k: int) -> None:
    """W is 0 there up to rounding, and which way the rounding falls decides between "spherical" and not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pg.sphericity(pd.DataFrame(walk(n, k)))
    assert abs(theirs.W) < 1e-10
    assert 0 <= theirs.pval <= 1
    assert bool(theirs[0]) == (theirs.pval > 0.05)
    ours = rm_anova(long(walk(n, k)), *COLUMNS, n_bootstrap=0)
    assert ours.mauchly is None
    assert ours.p_gg != ours.p_uncorrected  # the correction is there all the same


def test_fault_3_huynh_feldt_of_two_seeds_is_no_share() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pg.epsilon(pd.DataFrame(walk(2, 21)), correction="hf")
    assert not 0 < theirs <= 1
    assert np.isnan(rm_anova(long(walk(2, 21)), *COLUMNS, n_bootstrap=0).eps_hf)


def test_fault_4_two_seeds_and_three_intervals_divide_by_zero() -> None:
    y_SK = walk(2, 3)
    with pytest.raises(ZeroDivisionError):
        of_pingouin(y_SK)
    ours = rm_anova(long(y_SK), *COLUMNS, n_bootstrap=0)
    residual = y_SK - y_SK.mean(0) - y_SK.mean(1, keepdims=True) + y_SK.mean()
    f = 2 * np.square(y_SK.mean(0) - y_SK.mean()).sum() / np.square(residual).sum()
    assert ours.f == pytest.approx(f)
    assert ours.p_gg == pytest.approx(stats.f.sf(f, 1, 1))
