"""Bands from a user's own finished runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from trajlab.analysis.forecasting.calibration import Situation
from trajlab.analysis.forecasting.default import shipped
from trajlab.analysis.forecasting.own_runs import own_calibration, scored_runs, tables_of

HERE = Situation(0.4, True, True)


def finished(root: Path, z: np.ndarray) -> Path:
    """A folder of runs that registered a forecast at 40 %, each off by z of its spreads; a new run's folder in it."""
    for number, value in enumerate(z):
        folder = root / "e" / f"seed={number}" / "registered"
        folder.mkdir(parents=True)
        row = {"share": 0.4, "seen": 40.0, "target": 100.0, "known": True, "ahead": True, "z": float(value)}
        (folder / "scores.json").write_text(json.dumps([{**row, "registered": 3.0, "observed": 3.0, "inside": True}]))
    return root / "e" / "new"


def test_eighteen_runs_are_too_few_and_nineteen_are_enough(tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(5, 1, 19)
    few, enough = finished(tmp_path / "few", z[:18]), finished(tmp_path / "enough", z)
    np.testing.assert_array_equal(tables_of(few).calibration.quantiles(HERE), shipped().calibration.quantiles(HERE))
    own = tables_of(enough).calibration.quantiles(HERE)
    assert own[3] == pytest.approx(z.max())
    other = Situation(0.8, True, False)
    np.testing.assert_array_equal(
        tables_of(enough).calibration.quantiles(other), shipped().calibration.quantiles(other)
    )


def test_own_bands_hold_nine_tenths_of_new_runs(tmp_path: Path) -> None:
    """Skewed errors, 100 folders of 25 runs: 90 % within ± 3 (a standard error is 0.9: folders differ by 6, runs of a folder by 6)."""
    rng = np.random.default_rng(1)
    finished(tmp_path, np.zeros(25))
    scored, held = scored_runs(tmp_path), []
    for _ in range(100):
        row = own_calibration(scored.assign(z=rng.gamma(2, 1, 25) - 1)).iloc[0]
        new = rng.gamma(2, 1, 25) - 1
        held.append(((new >= row["q05"]) & (new <= row["q95"])).mean())
    assert 0.87 < np.mean(held) < 0.93


def test_a_file_that_can_not_be_read_is_left_out(tmp_path: Path) -> None:
    new = finished(tmp_path, np.arange(20) / 10)
    (tmp_path / "e" / "seed=3" / "registered" / "scores.json").write_text("[{")
    assert len(scored_runs(tmp_path)) == 19
    assert tables_of(new).calibration.table.iloc[0]["curves"] == 19
