"""Tokens to a target, censored runs included: a textbook's answers, planted differences, honest ends."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from trajlab.analysis.load import Runs
from trajlab.analysis.report.sections.target_times import section
from trajlab.analysis.target_times import (
    log_rank,
    median_with_interval,
    paired_difference,
    time_to_target,
    welch_difference,
)

# weeks of remission of 42 patients with leukaemia (Freireich et al. 1963; Cox 1972; Kalbfleisch & Prentice 2002, table 1.1)
MERCAPTOPURINE = [6, 6, 6, 6.5, 7, 9.5, 10, 10.5, 11.5, 13, 16, 17.5, 19.5, 20.5, 22, 23, 25.5, 32.5, 32.5, 34.5, 35.5]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
"""Halves mark patients who were still in remission when last seen."""


def test_the_textbooks_medians_and_log_rank_test() -> None:
    drug, placebo = np.array(MERCAPTOPURINE), np.array(PLACEBO, float)
    relapsed = drug % 1 == 0
    assert (len(drug), int(relapsed.sum()), len(placebo)) == (21, 9, 21)
    time = np.r_[np.floor(drug), placebo]
    event = np.r_[relapsed, np.ones(21, bool)]
    assert median_with_interval(time[:21], event[:21])[0] == 23
    assert median_with_interval(time[21:], event[21:])[0] == 8
    assert median_with_interval(time[21:], event[21:])[1:] == (4, 11)  # R's survfit, conf.type = "log-log"
    p = log_rank(time, event, np.repeat([0, 1], 21))
    assert p == pytest.approx(4.17e-5, rel=0.01)  # χ² = 16.79


def runs(rates: dict[str, float], seeds: int = 6, budget: float = 20.0, noise: float = 0.1) -> pd.DataFrame:
    """Losses that fall by ``rate`` per million tokens from 4, each seed faster or slower as a whole."""
    rng = np.random.default_rng(0)
    pace_S = np.exp(0.2 * rng.standard_normal(seeds))
    rows = []
    for name, rate in rates.items():
        for s in range(seeds):
            x_K = np.linspace(0, budget, 21)
            own = rate * pace_S[s] * np.exp(noise * rng.standard_normal())
            rows.append(pd.DataFrame({"run": f"seed={s},lr={name}", "seed": s, "tokens": x_K, "loss": 4 - own * x_K}))
    return pd.concat(rows, ignore_index=True).assign(experiment="e", variant="raw", split="valid")


def test_a_faster_condition_is_found_paired_by_seed() -> None:
    found = time_to_target(runs({"1": 0.1, "2": 0.2}), 3.0)
    assert found.medians["median"].tolist() == pytest.approx([10, 5], rel=0.25)
    (row,) = found.differences.to_dict("records")
    assert row["paired"]
    assert row["high"] < 0
    assert row["p_log_rank"] < 0.05
    assert len(found.table()) == 2


def test_runs_that_never_arrive_are_censored_and_not_left_out() -> None:
    """The median counts them; a mean over those that arrive would make the slow condition faster than it is."""
    frame = runs({"fast": 0.3, "slow": 0.11}, budget=10.0)
    found = time_to_target(frame, 3.0)
    slow = found.medians.set_index("condition").loc["lr=slow"]
    assert 0 < slow["reached"] < slow["runs"]
    assert np.isnan(slow["high"])  # nobody saw it
    (row,) = found.differences.to_dict("records")
    assert row["restricted_to"] == 10.0
    assert row["low"] > 0
    assert np.isnan(time_to_target(frame, -5.0).medians["median"]).all()
    assert np.isnan(time_to_target(frame, -5.0).differences["p_log_rank"]).all()


def test_a_run_that_stopped_early_limits_the_comparison() -> None:
    frame = runs({"1": 0.1, "2": 0.1})
    stopped = frame[~((frame["run"] == "seed=0,lr=1") & (frame["tokens"] > 3))]
    assert time_to_target(stopped, 3.0).differences["restricted_to"].item() == 3.0


def test_other_seeds_are_compared_unpaired() -> None:
    frame = runs({"1": 0.1, "2": 0.3})
    other = frame["run"].str.endswith("lr=2")
    frame.loc[other, "run"] = frame.loc[other, "run"].str.replace("seed=", "seed=1")
    frame.loc[other, "seed"] += 10
    row = time_to_target(frame, 3.0).differences.iloc[0]
    assert not row["paired"]
    assert row["high"] < 0


def test_what_can_not_be_judged_is_named() -> None:
    frame = runs({"1": 0.1})
    assert time_to_target(frame, 3.0).differences.empty
    with pytest.raises(KeyError, match="no column ppl"):
        time_to_target(frame, 3.0, dv="ppl")
    with pytest.raises(ValueError, match="variant holds lawa5, raw"):
        time_to_target(pd.concat([frame, frame.assign(variant="lawa5")]), 3.0)
    with pytest.raises(ValueError, match="isn't finite"):
        time_to_target(frame.assign(loss=np.nan), 3.0)


def test_the_report_compares_conditions_at_a_loss_that_half_of_each_reach() -> None:
    frame = runs({"1": 0.1, "2": 0.2}, seeds=3)
    frame = frame.assign(interval=frame.groupby("run").cumcount(), ppl=np.exp(frame["loss"]))
    names = frame["run"].unique()
    manifests = [{"experiment": "e", "run": run, "seed": i % 3, "status": "finished"} for i, run in enumerate(names)]
    part = section(Runs({"intervals": frame}, manifests))
    assert part is not None
    (block,) = part.blocks
    assert block.frame is not None
    assert (block.frame["reached"] >= 2).all()
    assert section(Runs({"intervals": frame[frame["run"].str.endswith("lr=1")]}, manifests[:3])) is None


@pytest.mark.filterwarnings("error")
def test_runs_that_arrive_together_say_nothing_and_break_nothing() -> None:
    reached, groups = np.ones(4, bool), np.array([0, 0, 1, 1])
    assert log_rank(np.full(4, 7.0), reached, groups) == 1.0
    assert log_rank(np.array([7.0, 7.0]), reached[:2], groups[1:3]) == 1.0  # one run on each side
    assert np.isnan(log_rank(np.full(4, 7.0), ~reached, groups))
    same = np.full(3, 7.0)
    assert np.isnan(welch_difference(same, same + 1)[1:]).all()
    assert np.isnan(paired_difference(same)[1:]).all()
    frame = runs({"a": 0.3, "b": 0.3}, seeds=2, noise=0.0)
    differences = time_to_target(frame, 3.0).differences.iloc[0]
    assert differences["difference"] == 0
    assert np.isnan(differences["low"])


def test_welchs_interval_is_scipys() -> None:
    a, b = np.random.default_rng(0).normal(size=4), 3 * np.random.default_rng(1).normal(size=9)
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert welch_difference(a, b)[1:] == pytest.approx((expected.low, expected.high))
