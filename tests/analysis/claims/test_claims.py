"""Claims of the budget study, on made-up runs that have them and on runs that have not."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.simulated import budget_runs
from trajlab.analysis.claims import check, studies
from trajlab.analysis.claims.claim import Claim, design, mean_claim, not_testable, placed
from trajlab.analysis.load import Runs

VOLATILITY = "interval effect on rolling volatility, detrended"
BACKSLIDES = "recurrent backslides: rises beyond 2 se per seed, less those of a steady run"
STABLE = "no stable phase: share of seeds without one"


def with_loss(runs: Runs, loss: np.ndarray, windows: bool = True) -> Runs:
    """The runs with other losses (in the order of their rows), the windows moved along or left out."""
    frame = runs.intervals.copy()
    moved = [w + 100 * (new - old) for w, new, old in zip(frame["window_nll"], loss, frame["loss"], strict=True)]
    frame = frame.assign(loss=loss, ppl=np.exp(loss), window_nll=moved if windows else None)
    return Runs({**runs.tables, "intervals": frame}, runs.manifests)


def smooth(runs: Runs) -> Runs:
    """Curves that fall ever more slowly, without a rise; seeds differ in level and by less than they fall."""
    t, seed = runs.intervals["interval"].to_numpy(), runs.intervals["seed"].to_numpy()
    noise = 5e-4 * np.random.default_rng(3).standard_normal(len(t))
    return with_loss(runs, 2.5 + 5.5 * np.exp(-0.6 * t) - 0.004 * t + 0.003 * seed + noise)


def test_runs_like_the_published_ones_support_it() -> None:
    table = check(budget_runs(), "budget").set_index("claim")
    assert {"published", "observed", "ci_low", "ci_high", "margin", "holds", "error_rate", "verdict"} <= set(
        table.columns
    )
    for claim in ("parameters", "mean loss at initialisation", "mean loss a fifth into the budget (4M tokens)",
                  "tokens at the lowest mean loss, share of the budget", "interval effect on loss"):  # fmt: skip
        assert table.loc[claim, "verdict"] == "supported", table
    assert "contradicted" not in set(table["verdict"].drop(BACKSLIDES))
    assert (table.loc[table["verdict"].isin(["supported", "contradicted"]), "margin"] != "").all()
    loss = table.loc["mean loss at initialisation"]
    assert loss["ci_low"] < loss["observed"] < loss["ci_high"]
    assert loss["holds"] == "seeds"


NATS = ["mean loss at initialisation", "mean loss a fifth into the budget (4M tokens)", "mean loss at the end", "rise from there to the end"]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"parameters": 133_440}, "133,440 parameters for 4,260,000"),
        ({"config": {"model": {"vocab_size": 512}}}, "a vocabulary of 512 for 4,096"),
        ({"config": {"tokenizer": {"vocab_size": 50_257}}}, "a vocabulary of 50,257 for 4,096"),
    ],
)
def test_nats_of_another_design_contradict_nothing(told: dict, named: str) -> None:
    runs = smooth(budget_runs())  # ends far from the published loss
    other = Runs(runs.tables, [{**m, **told} for m in runs.manifests])
    table = check(other, "budget").set_index("claim")
    assert set(table.loc[NATS, "verdict"]) == {"not testable"}
    assert table.loc[NATS, "reason"].str.contains(named).all()
    assert table.loc[NATS, ["observed", "ci_low", "ci_high"]].notna().all(axis=None)
    assert table.loc["tokens at the lowest mean loss, share of the budget", "verdict"] == "contradicted"


@pytest.mark.parametrize(
    "told", [{"parameters": 4_262_144, "config": {"model": {"vocab_size": 4096}}}, {"parameters": None, "config": {}}]
)
def test_nats_of_the_published_design_or_of_an_unknown_one_are_judged(told: dict) -> None:
    runs = smooth(budget_runs())
    table = check(Runs(runs.tables, [{**m, **told} for m in runs.manifests]), "budget").set_index("claim")
    assert table.loc["mean loss at the end", "verdict"] == "contradicted"


def test_ignorance_supports_nothing() -> None:
    """Two seeds, 4.06 against 2.80: the interval holds everything, which is no agreement."""
    claim = mean_claim("loss", 2.80, np.array([2.81, 5.31]), 0.05, "ours")
    assert claim.ci_low < -10 < 15 < claim.ci_high
    assert claim.verdict == "undecided"


def test_no_relative_distance_overrides_an_interval() -> None:
    assert mean_claim("x", 2.00, 2.019 + 1e-4 * np.arange(6), 0.005, "ours").verdict == "contradicted"


def test_a_published_value_brings_its_own_uncertainty() -> None:
    values = 2.2 + 0.01 * np.arange(6)
    assert mean_claim("x", 2.0, values, 0.05, "ours").verdict == "contradicted"
    assert mean_claim("x", 2.0, values, 0.05, "ours", published_se=0.15).verdict == "undecided"


def test_a_single_pass_over_fresh_data_has_no_turn() -> None:
    table = check(smooth(budget_runs()), "budget").set_index("claim")
    assert table.loc["mean loss at the end", "verdict"] == "contradicted"
    assert table.loc["tokens at the lowest mean loss, share of the budget", "verdict"] == "contradicted"


def test_a_smooth_fall_is_not_unstable() -> None:
    table = check(smooth(budget_runs()), "budget").set_index("claim")
    assert table.loc[VOLATILITY, "verdict"] == "undecided"
    assert table.loc[BACKSLIDES, "verdict"] == "contradicted"
    assert table.loc[STABLE, "verdict"] == "contradicted"


def test_planted_instability_is_seen() -> None:
    runs = smooth(budget_runs())
    t, rng = runs.intervals["interval"].to_numpy(), np.random.default_rng(0)
    shaken = runs.intervals["loss"].to_numpy() + np.where((t % 2 == 1) & (t > 8), 0.1, 0.0)
    shaken += 0.002 * rng.standard_normal(len(t))
    table = check(with_loss(runs, shaken), "budget").set_index("claim")
    for claim in (VOLATILITY, BACKSLIDES, STABLE):
        assert table.loc[claim, "verdict"] == "supported", claim


def test_without_stored_windows_no_rise_is_beyond_its_error() -> None:
    runs = budget_runs()
    table = check(with_loss(runs, runs.intervals["loss"].to_numpy(), windows=False), "budget").set_index("claim")
    for claim in (BACKSLIDES, STABLE):
        assert table.loc[claim, "verdict"] == "not testable"
        assert "no stored windows" in table.loc[claim, "reason"]


def test_one_seed_cannot_test_the_effects() -> None:
    table = check(budget_runs(seeds=1), "budget").set_index("claim")
    random = table[table["holds"] != "nothing random"]
    assert (random["verdict"] == "not testable").all()
    assert (random["reason"] != "").all()
    assert np.isnan(table.loc["mean loss at the end", "ci_low"])


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (Claim("x", 2.0, 2.01), "not testable"),
        (Claim("x", 2.0, 2.01, 2.0, 2.02, (1.9, 2.1)), "supported"),
        (Claim("x", 2.0, 2.2, 1.9, 2.5, (1.9, 2.1)), "undecided"),
        (Claim("x", 2.0, 2.2, 2.15, 2.25, (1.9, 2.1)), "contradicted"),
        (design("x", 6, 6), "supported"),
        (design("x", 6, 5), "not testable"),
        (design("x", 6, None), "not testable"),
        (not_testable("x", "yes", "why"), "not testable"),
    ],
)
def test_verdicts(claim: Claim, verdict: str) -> None:
    assert claim.verdict == verdict


def test_each_verdict_is_wrong_at_most_as_often_as_its_level() -> None:
    """At the margin's edge, where both errors are largest: the thin slice of `analysis calibrate --verdicts`."""
    rng = np.random.default_rng(0)
    half = 2.571 / 6**0.5
    y_BS = rng.standard_normal((1000, 6))
    mean, sd = y_BS.mean(1), y_BS.std(1, ddof=1)
    words = [placed(m - half * s, m + half * s, (0.0, 50.0)) for m, s in zip(mean, sd, strict=True)]
    assert words.count("supported") <= 40
    assert words.count("contradicted") <= 40


def test_mistakes() -> None:
    assert {"budget", "trajectories"} <= set(studies())
    assert check(Runs({}), "trajectories").empty  # no table of that study, no claim
    with pytest.raises(ValueError, match="study 'bugdet' is not known"):
        check(budget_runs(), "bugdet")
    runs = budget_runs(seeds=2)
    swept = runs.intervals.assign(run=runs.intervals["run"].map("lr=0.1,{}".format))
    both = Runs({"intervals": pd.concat([runs.intervals, swept])}, runs.manifests)
    with pytest.raises(ValueError, match="more than one condition"):
        check(both, "budget")
