"""Claims of the budget study, on made-up runs that have them and on runs that have not."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.simulated import budget_runs
from trajlab.analysis.claims import check, studies
from trajlab.analysis.claims.claim import Claim
from trajlab.analysis.load import Runs


def test_runs_like_the_published_ones_agree() -> None:
    table = check(budget_runs(), "budget").set_index("claim")
    assert list(table.columns) == ["published", "observed", "ci_low", "ci_high", "verdict"]
    assert table["verdict"].isin(["agrees", "holds"]).all(), table
    assert table.loc["parameters", "observed"] == 4_262_144
    assert table.loc["observations", "observed"] == 126
    loss = table.loc["mean loss at initialisation"]
    assert loss["ci_low"] < loss["observed"] < loss["ci_high"]


def test_a_single_pass_over_fresh_data_has_no_turn() -> None:
    runs = budget_runs()
    falling = runs.intervals.assign(loss=8.3552 - 0.25 * runs.intervals["interval"] + 0.01 * runs.intervals["seed"])
    wavy = falling.assign(loss=falling["loss"] + 1e-3 * np.sin(7 * falling["seed"] * (1 + falling["interval"])))
    table = check(Runs({**runs.tables, "intervals": wavy}, runs.manifests), "budget").set_index("claim")
    assert table.loc["mean loss at the end", "verdict"] == "differs"
    assert table.loc["tokens at the lowest mean loss, share of the budget", "observed"] == 1
    assert table.loc["recurrent backslides", "verdict"] == "doesn't hold"


def test_one_seed_cannot_test_the_effects() -> None:
    table = check(budget_runs(seeds=1), "budget").set_index("claim")
    assert table.loc["interval effect on loss", "verdict"] == "not testable"
    assert np.isnan(table.loc["mean loss at the end", "ci_low"])


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (Claim("x", 2.0, 2.01), "agrees"),
        (Claim("x", 2.0, 2.08), "close"),
        (Claim("x", 2.0, 2.2), "differs"),
        (Claim("x", 2.0, 2.2, 1.9, 2.5), "agrees"),
        (Claim("x", 2.0, np.nan), "not testable"),
        (Claim("x", "yes", "no", holds=False), "doesn't hold"),
        (Claim("x", "yes", "?"), "not testable"),
    ],
)
def test_verdicts(claim: Claim, verdict: str) -> None:
    assert claim.verdict == verdict


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
