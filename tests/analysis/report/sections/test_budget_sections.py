"""The report of a budget study: every quantity there, and no section without its tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.analysis.simulated import budget_runs
from trajlab.analysis.conditions import conditions
from trajlab.analysis.load import Runs
from trajlab.analysis.report import write_report
from trajlab.analysis.report.sections import claims, diminishing_returns, repeated_measures, stability

OWN = (stability, repeated_measures, diminishing_returns)


def words(part) -> str:  # type: ignore[no-untyped-def]
    return "\n".join(b.words + ("" if b.frame is None else "\n" + b.frame.to_string()) for b in part.blocks)


@pytest.mark.slow
def test_the_report_holds_every_quantity_of_the_study(tmp_path: Path) -> None:
    page = write_report(budget_runs(), tmp_path, "Budget")
    text = page.with_suffix(".md").read_text()
    for quantity in (
        "Validation loss. F(20, 100)",
        "Perplexity. F(20, 100)",
        "Rolling volatility. F(19, 95)",
        "ε GG",
        "generalised η²",
        "sign flips of whole curves",
        "Mixed model",
        "How often each test rejects",
        "Where training turns",
        "g (average sd)",
        "Seeds for 80 % power",
        "rises beyond 2 se",
        "largest drawdown",
        "ICC(A,1)",
        "Step spikes",
        "No run has a stable phase",
        "nats per exaFLOP",
        "of the budget was spent after it",
        "regret, best kept",
        "mean loss at initialisation",
    ):
        assert quantity in text, quantity
    names = {p.name for p in tmp_path.glob("figures/*.svg")}
    assert {f"tinystories_budget_{f}.svg" for f in ("stability", "steps", "contrasts", "returns")} <= names


def test_no_section_without_its_tables() -> None:
    nothing = Runs({}, [])
    assert all(module.section(nothing) is None for module in (*OWN, claims))
    published = budget_runs(seeds=1).intervals.assign(seed=np.nan, run="pythia-70m", experiment="pythia")
    assert all(module.section(Runs({"intervals": published}, [])) is None for module in (*OWN, claims))


def test_one_seed_still_has_its_telemetry() -> None:
    runs = budget_runs(seeds=1)
    assert "one seed" in words(repeated_measures.section(runs))
    assert "seed=0" in words(stability.section(runs))
    assert "kept_regret" in words(diminishing_returns.section(runs))


def test_a_diverged_run_is_named_instead_of_stopping_the_report() -> None:
    runs = budget_runs(seeds=3)
    broken = runs.intervals.assign(loss=runs.intervals["loss"].where(runs.intervals.index != 30, np.inf))
    for module in OWN:
        assert "not finite" in words(module.section(Runs({**runs.tables, "intervals": broken}, runs.manifests)))


def test_steps_are_optional() -> None:
    runs = budget_runs(seeds=2)
    without = Runs({"intervals": runs.intervals}, runs.manifests)
    assert "Step spikes" not in words(stability.section(without))


def test_conditions_keep_apart_what_was_swept() -> None:
    runs = budget_runs(seeds=2)
    swept = runs.intervals.assign(run=runs.intervals["run"].map("lr=0.1,{}".format))
    averaged = runs.intervals.assign(variant="lawa5")
    both = Runs({"intervals": pd.concat([runs.intervals, swept, averaged], ignore_index=True)}, runs.manifests)
    found = list(conditions(both))
    assert [c.name for c in found] == ["tinystories_budget", "tinystories_budget_lr-0.1"]
    assert [c.seeds for c in found] == [2, 2]
    assert all(set(c.intervals["variant"]) == {"raw"} for c in found)
