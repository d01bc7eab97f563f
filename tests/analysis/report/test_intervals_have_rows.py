"""An interval that a report prints has a row in docs/statistics.md: the watch over all other tests sees a new one."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT
from trajlab.analysis.claims.calibration import COVERAGE
from trajlab.analysis.claims.calibration.printed import ELSEWHERE, PRINTED, uncalibrated
from trajlab.analysis.report.section import Section


@pytest.mark.parametrize(
    "column", ["ci_low", "slope_low", "stderr", "a0_se", "best: 95\xa0% CI from", "difference low"]
)
def test_a_new_column_of_an_interval_is_seen(column: str, no_interval_without_a_row: list[str]) -> None:
    Section("New").table(pd.DataFrame({"mean": [1.0], column: [0.5]}), "A new quantity.")
    assert no_interval_without_a_row == [f"{column}: A new quantity."]
    no_interval_without_a_row.clear()


def test_an_interval_within_a_cell_is_seen(no_interval_without_a_row: list[str]) -> None:
    Section("New").table(pd.DataFrame({"gain": ["+0.10 [+0.05, +0.15]"]}), "A new quantity.")
    assert len(no_interval_without_a_row) == 1
    no_interval_without_a_row.clear()


def test_what_is_no_interval_needs_no_row() -> None:
    names = ["interval", "slow", "allowed", "lowest_loss", "seed", "used", "tokens", "std"]
    assert uncalibrated(names, "Anything.", ["[1]", "1 to 2", np.nan]) == []


def test_captions_name_rows_that_are_there() -> None:
    assert {kind for kinds in PRINTED.values() for kind in kinds} <= set(COVERAGE)
    assert all((ROOT / page).is_file() for page in ELSEWHERE.values())


def test_every_published_page_was_looked_at() -> None:
    """Captions of PRINTED stand in the published reports, so they are those that the report prints."""
    pages = "".join(path.read_text() for path in sorted((ROOT / "results").glob("*/report.html")))
    for caption in ("Per interval: mean over seeds", "Where training turns", "coefficients per million tokens"):
        assert caption in PRINTED
        assert caption in pages
