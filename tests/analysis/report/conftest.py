"""Every table that a test of the report prints is held against the calibrated intervals."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

from trajlab.analysis.claims.calibration.printed import uncalibrated
from trajlab.analysis.report.section import Section
from trajlab.analysis.report.shown import Shown


@pytest.fixture(autouse=True)
def no_interval_without_a_row(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fails a test in which a table with an interval is printed whose coverage nobody simulated."""
    without: list[str] = []

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def table(self: object, frame: pd.DataFrame, caption: str = "", *args: Any, **more: Any) -> Any:
            cells = frame.select_dtypes(["object", "string"]).to_numpy().ravel()
            without.extend(f"{c}: {caption}" for c in uncalibrated(frame.columns, caption, cells))
            return method(self, frame, caption, *args, **more)

        return table

    for owner in (Section, Shown):
        monkeypatch.setattr(owner, "table", watched(owner.table))
    yield without
    assert not without, "name the row of docs/statistics.md in calibration/printed.py, simulated in COVERAGE"
