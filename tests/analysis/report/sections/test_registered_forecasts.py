"""Frozen forecasts beside what came, over all runs of a folder."""

import json
from pathlib import Path

import pandas as pd

from trajlab.analysis.forecasting.registered import freeze
from trajlab.analysis.load import Runs
from trajlab.analysis.report.sections import registered_forecasts


def folder_of(root: Path, finals: list[float]) -> Runs:
    """Runs that forecast 3.0 within [2.9, 3.1] at a fifth and two fifths of their budget, and ended as given."""
    manifests, rows = [], []
    for number, final in enumerate(finals):
        folder = root / "e" / f"seed={number}"
        (folder / "registered").mkdir(parents=True)
        for share in (0.2, 0.4):
            entry = {"share": share, "split": "valid", "target": 100, "registered": 3.0, "low": 2.9, "high": 3.1}
            entry |= {"seen": 100 * share, "points": 9, "evidence_sha256": "0", "made": "2026-01-01T00:00:00+00:00"}
            (folder / "registered" / f"at_{100 * share:g}_percent.json").write_text(json.dumps(entry))
        about = {"experiment": "e", "run": f"seed={number}"}
        manifests.append({**about, "folder": str(folder)})
        for split in ("valid", "ood"):
            rows += [{**about, "variant": "raw", "split": split, "tokens": 100, "loss": final + (split == "ood")}]
    return Runs({"intervals": pd.DataFrame(rows)}, manifests)


def words(runs: Runs) -> str:
    part = registered_forecasts.section(runs)
    assert part is not None
    return " ".join(block.words for block in part.blocks)


def test_honest_bands_are_called_so_and_others_are_not(tmp_path: Path) -> None:
    honest = folder_of(tmp_path / "a", [3.0] * 9 + [3.2])
    assert "9 of 10 runs ended inside" in words(honest)
    assert "no sign that they are too narrow" in words(honest)
    assert "distrust the forecasts" in words(folder_of(tmp_path / "b", [3.0] * 5 + [3.2] * 5))


def test_each_forecast_is_a_row_with_its_error(tmp_path: Path) -> None:
    table, problems = registered_forecasts.registered_table(folder_of(tmp_path, [3.05, 3.2]))
    assert problems == []
    assert table["error"].round(9).tolist() == [-0.05, -0.05, -0.2, -0.2]
    assert table["inside"].tolist() == [True, True, False, False]


def test_a_file_that_is_no_forecast_is_a_box_and_a_run_in_training_is_left_out(tmp_path: Path) -> None:
    runs = folder_of(tmp_path, [3.0, 3.0])
    (tmp_path / "e" / "seed=0" / "registered" / "at_40_percent.json").write_text('{"registered": 3')
    runs.tables["intervals"] = runs.intervals[runs.intervals["run"] == "seed=0"]
    part = registered_forecasts.section(runs)
    assert part is not None
    assert "at_40_percent.json can't be read" in part.blocks[0].words
    assert "1 of 1 runs" in part.blocks[1].words


def test_runs_without_registered_forecasts_have_no_section() -> None:
    assert registered_forecasts.section(Runs({}, [])) is None


def test_an_edited_forecast_and_other_losses_under_it_are_told(tmp_path: Path) -> None:
    runs = folder_of(tmp_path, [3.0, 3.0])
    early = runs.intervals.assign(tokens=20, loss=3.5)
    runs.tables["intervals"] = pd.concat([early[early["split"] == "valid"], runs.intervals], ignore_index=True)
    for number in range(2):
        folder = tmp_path / "e" / f"seed={number}" / "registered"
        (folder / "at_40_percent.json").unlink()
        entry = json.loads((folder / "at_20_percent.json").read_text())
        (folder / "at_20_percent.json").unlink()
        assert freeze(folder / "at_20_percent.json", {**entry, "points": 1, "losses": [3.5 + 1e-7]})
    table, problems = registered_forecasts.registered_table(runs)
    assert (table["evidence"].tolist(), problems) == (["same", "same"], [])

    edited = tmp_path / "e" / "seed=0" / "registered" / "at_20_percent.json"
    edited.write_text(edited.read_text().replace('"low": 2.9', '"low": 2.0'))
    runs.tables["intervals"].loc[runs.intervals["run"] == "seed=1", "loss"] += 0.01
    table, problems = registered_forecasts.registered_table(runs)
    assert table["evidence"].tolist() == ["rewritten", "changed"]
    assert len(problems) == 1
    assert "at_20_percent.json was edited after it was registered" in problems[0]


def test_a_forecast_for_an_end_that_a_finished_run_never_had_is_told(tmp_path: Path) -> None:
    runs = folder_of(tmp_path, [3.0])
    runs.tables["intervals"] = runs.intervals.assign(tokens=90)
    assert registered_forecasts.section(runs) is None  # still in training
    runs.manifests[0]["status"] = "finished"
    _, problems = registered_forecasts.registered_table(runs)
    assert len(problems) == 2
    assert "for an end at 100 tokens" in problems[0]
