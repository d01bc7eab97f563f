"""What a user of the package meets first: runs that show themselves, errors that name what there is, a plot of any column."""

import doctest

import numpy as np
import pandas as pd
import pytest

from tests.analysis.simulated import budget_runs
from trajlab import analysis
from trajlab.analysis import plots
from trajlab.analysis.load import Runs
from trajlab.analysis.report import names


@pytest.fixture(scope="module")
def swept() -> Runs:
    one = budget_runs(seeds=2, intervals=4)
    frames, manifests = [], []
    for rate in ("0.001", "0.01"):
        runs = {m["run"]: f"{m['run']},optimizer.lr={rate}" for m in one.manifests}
        frames.append(one.intervals.assign(run=one.intervals["run"].map(runs)))
        config = {"optimizer": {"lr": float(rate)}, "name": "x"}
        manifests += [{**m, "run": runs[m["run"]], "status": "finished", "config": config} for m in one.manifests]
    return Runs({"intervals": pd.concat(frames, ignore_index=True)}, manifests)


def test_runs_show_themselves_as_a_table_of_runs(swept: Runs) -> None:
    text = repr(swept)
    assert "4 runs" in text.splitlines()[0]
    assert sum("finished" in line for line in text.splitlines()) == 4
    assert "intervals (16)" in text
    assert repr(Runs({}, [])).endswith("tables: none")


def test_conditions_have_swept_values_as_columns(swept: Runs) -> None:
    table = swept.conditions
    assert table["optimizer.lr"].tolist() == [0.001, 0.01]
    assert table["seeds"].tolist() == [2, 2]
    assert swept.configs["optimizer.lr"].tolist() == [0.001, 0.001, 0.01, 0.01]
    assert budget_runs(seeds=3, intervals=3).conditions["seeds"].tolist() == [3]


def test_a_misspelt_column_and_an_absent_value_are_errors_that_name_what_there_is(swept: Runs) -> None:
    with pytest.raises(ValueError, match=r"select\(varient=…\): no table has a column varient; did you mean variant"):
        swept.select(varient="raw")
    with pytest.raises(ValueError, match=r"select\(variant='lawa5'\) selects nothing; there are 'raw'"):
        swept.select(variant="lawa5")
    assert len(swept.select(variant="raw", seed=1).intervals) == 8


def test_without_takes_rows_and_manifests(swept: Runs) -> None:
    rest = swept.without({("tinystories_budget", "seed=0,optimizer.lr=0.01")})
    assert len(rest.manifests) == 3
    assert len(rest.intervals) == 12


def test_any_column_is_drawn_with_its_seeds_and_mean(swept: Runs) -> None:
    frame = swept.intervals.assign(mine=lambda f: f["loss"] ** 2, rate=lambda f: f["run"].str.split("=").str[-1])
    (ax,) = analysis.plot(frame, "interval", "mine", "rate").axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("interval", "mine")
    thick = [line for line in ax.get_lines() if line.get_linewidth() == 2]
    assert len(ax.get_lines()) == 6
    np.testing.assert_allclose(thick[0].get_ydata(), frame[frame["rate"] == "0.001"].groupby("interval")["mine"].mean())
    with pytest.raises(ValueError, match="no column yours in the frame"):
        analysis.plot(frame, y="yours")
    both = pd.concat([frame, frame.assign(variant="lawa5")])
    with pytest.raises(ValueError, match="choose one variant or give hue="):
        analysis.plot(both)


@pytest.mark.parametrize("module", [analysis, plots, names], ids=lambda m: m.__name__)
def test_examples_run(module) -> None:  # type: ignore[no-untyped-def]
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_an_unknown_name_is_answered_with_the_known() -> None:
    with pytest.raises(AttributeError, match="it has Runs, best_interval"):
        analysis.lode_runs  # noqa: B018
