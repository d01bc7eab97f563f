"""When a run is evaluated doesn't depend on what is recorded of it."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from trajlab.analysis import load_runs


def test_without_interval_telemetry_the_others_still_get_their_losses(micro: Callable[..., Path]) -> None:
    whole, without = load_runs(micro(runs="whole")), load_runs(micro("~callbacks.interval_telemetry", runs="without"))
    assert "intervals" in whole.tables
    assert "intervals" not in without.tables
    for table in ("positions", "steps"):
        left, right = (r.table(table).drop(columns="seconds", errors="ignore") for r in (whole, without))
        assert len(left)
        pd.testing.assert_frame_equal(left, right, check_exact=True)
