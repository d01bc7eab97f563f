"""No verdict and no printed interval without a measured error rate: the stored rates, the docs, and a thin slice."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT
from trajlab.analysis.__main__ import main
from trajlab.analysis.claims.calibration import COVERAGE, KINDS, calibrate_verdicts
from trajlab.analysis.claims.calibration.intervals import BY_VERDICT, ELSEWHERE
from trajlab.analysis.claims.calibration.page import publish
from trajlab.analysis.claims.error_rates import MEASURED, STORED

PAGE = ROOT / "docs/statistics.md"
ALLOWED = 0.06
FEWEST = 1000
LIMITS = r"\b(?:t_interval|mean_interval|proportion_ci|quantile_ci|confidence_interval|eta_squared_interval|norm\.ppf|t\.ppf|sqrt\(np\.diag(?:onal)?)\(|(?:quantile|percentile)\([^\n]*(?:level|tail|2\.5|0?\.975)"
"""Calls that make the ends of an interval."""


@pytest.fixture(scope="module")
def stored() -> pd.DataFrame:
    return pd.read_csv(STORED)


def test_every_verdict_and_every_interval_has_its_rows(stored: pd.DataFrame) -> None:
    found = stored.groupby("kind")["situation"].agg(set).to_dict()
    wanted = {name: {*kind.nulls, *kind.effects} for name, kind in KINDS.items()}
    assert found == wanted | {name: set(interval.situations) for name, interval in COVERAGE.items()}


def test_every_check_that_a_claim_names_is_calibrated() -> None:
    code = "".join(p.read_text() for p in (ROOT / "analysis/claims").glob("*.py"))
    named = set(re.findall(r'check="([^"]+)"', code))
    assert len(named) > 8
    assert named <= {*KINDS, "design"} == set(MEASURED)


def test_no_verdict_is_wrong_in_more_than_six_percent_of_a_thousand(stored: pd.DataFrame) -> None:
    nulls = stored[(stored["what"] == "verdict") & stored["wrong"].notna()]
    assert (nulls["data_sets"] >= FEWEST).all()
    assert nulls.loc[nulls["wrong"] > ALLOWED, ["kind", "situation", "wrong"]].empty


def test_every_module_that_makes_an_interval_names_its_row() -> None:
    """A new interval in a report fails here until its coverage is simulated."""
    makers = set()
    for path in (ROOT / "analysis").rglob("*.py"):
        name = str(path.relative_to(ROOT / "analysis").with_suffix(""))
        aside = name.startswith("claims/calibration/") or name.split("/")[0] in ELSEWHERE
        if not aside and re.search(LIMITS, path.read_text()):
            makers.add(name)
    named = {name for interval in COVERAGE.values() for name in interval.printed_by} | set(BY_VERDICT)
    without = makers - named - {"statistics/intervals", "statistics/calibration"}  # the formula; the tests' own page
    assert not without, f"no calibrated interval names {sorted(without)}: add a row to COVERAGE"
    assert len(makers) > 12


def test_what_is_calibrated_elsewhere_is_there() -> None:
    assert {kind for kinds in BY_VERDICT.values() for kind in kinds} <= set(KINDS)
    for page in ELSEWHERE.values():
        assert re.search("cover|hold", (ROOT / page).read_text())


def test_the_page_is_what_the_command_wrote(stored: pd.DataFrame, tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text())
    publish(stored.head(3), copy, _copied(tmp_path))
    assert copy.read_text() == PAGE.read_text()


def _copied(folder: Path) -> Path:
    (folder / "rates.csv").write_text(STORED.read_text())
    return folder / "rates.csv"


def test_only_the_kinds_that_were_simulated_are_replaced(stored: pd.DataFrame, tmp_path: Path) -> None:
    page, rates = tmp_path / "page.md", _copied(tmp_path)
    page.write_text("<!-- verdict rates -->\nformer rows\n<!-- end -->\n<!-- interval rates -->\n<!-- end -->\nafter\n")
    publish(calibrate_verdicts(10, ["equal mean"]), page, rates)
    text = page.read_text()
    assert "former rows" not in text
    assert text.endswith("after\n")
    assert "| equal mean | mean at the margin | 10 |" in text
    others = pd.read_csv(rates)
    pd.testing.assert_frame_equal(
        others[others["kind"] != "equal mean"].reset_index(drop=True),
        stored[stored["kind"] != "equal mean"].reset_index(drop=True),
    )
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no <!-- verdict rates -->"):
        publish(stored, page, rates)


QUICK = ["equal mean", "paired over seeds", "conditions differ", "time to target", "equal perplexity", "slope on size"]


@pytest.mark.parametrize("kind", QUICK)
def test_a_thin_slice_keeps_its_error(kind: str) -> None:
    table = calibrate_verdicts(60, [kind], seed=1)
    assert table["wrong"].max() <= 0.16  # 6 % and three binomial standard errors
    assert table["right"].max() >= 0.3


@pytest.mark.parametrize("kind", ["mean over seeds", "best loss", "Hedges' g_av", "tokens saved"])
def test_a_thin_slice_covers(kind: str) -> None:
    assert calibrate_verdicts(60, [kind], seed=1)["wrong"].max() <= 0.18


def test_the_same_seed_gives_the_same_rates_whatever_else_is_simulated() -> None:
    alone = calibrate_verdicts(20, ["best loss"])
    beside = calibrate_verdicts(20, ["mean over seeds", "best loss"])
    np.testing.assert_array_equal(alone["wrong"], beside.loc[beside["kind"] == "best loss", "wrong"])


def test_the_command_writes_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["calibrate", "--verdicts", "--kinds", "equal mean", "--replicates", "20", "--out", str(tmp_path)])
    assert "mean at the margin" in capsys.readouterr().out
    assert (tmp_path / "verdicts.csv").is_file()


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="unknown kinds of verdict luck"):
        calibrate_verdicts(1, ["luck"])
