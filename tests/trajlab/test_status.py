"""How far runs are, from what is stored."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT
from trajlab.status import main, overview, reading
from trajlab.status.reading import Facts, facts
from trajlab.status.sweep import lines_of_the_sweep, run_names, seconds_left, sweep_line
from trajlab.store import layout
from trajlab.store.run_store import RunStore

NOW = 1_700_000_000.0
PER_INTERVAL, SECONDS = 100, 50.0


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


def _stored(root: Path, run: str, status: str, intervals: int, age: float = 0.0, **manifest: Any) -> Path:
    """A run of 1,000 tokens, measured every 100 of them and 50 seconds, the last time ``age`` seconds ago."""
    folder = root / "study" / run
    folder.mkdir(parents=True)
    config = {"intervals": {"budget_tokens": 1000}}
    known = {"experiment": "study", "run": run, "status": status, "config": config, **manifest}
    (folder / layout.MANIFEST).write_text(json.dumps(known))
    for i in range(intervals):
        row = {"tokens": i * PER_INTERVAL, "split": "valid", "loss": 5 - 0.1 * i, "tokens_per_second": 9.0}
        both = [{**row, "variant": "lawa5", "loss": 1.0}, {**row, "variant": "raw"}]
        _part(folder, "intervals", i, both, NOW - age - (intervals - 1 - i) * SECONDS)
    for path in (folder / layout.MANIFEST,):
        os.utime(path, (NOW - 1e6, NOW - 1e6))
    return folder


def _part(folder: Path, table: str, interval: int, rows: list[dict[str, Any]], written: float) -> None:
    path = layout.part_path(folder, table, interval)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    os.utime(path, (written, written))


def test_place_speed_time_left_and_forecast_of_a_run_that_trains(tmp_path: Path) -> None:
    folder = _stored(tmp_path, "seed=0", "running", intervals=5, age=20)
    law = {"law": "default", "forecast": 4.2, "low": 4.1, "high": 4.4}
    _part(
        folder,
        "forecasts",
        4,
        [{**law, "law": "temporal", "forecast": None}, {**law, "law": "log", "forecast": 9.0}, law],
        NOW,
    )
    found = facts(folder)
    assert (found.state, found.tokens, found.budget, found.loss) == ("running", 400, 1000, 4.6)
    assert found.tokens_per_second == pytest.approx(2.0)  # 100 tokens in 50 s, whatever is in the column
    assert found.seconds_left == pytest.approx(600 / 2 - 20)
    assert found.forecast == (4.2, 4.1, 4.4)


def test_a_run_that_is_silent_or_has_no_process_has_stopped(tmp_path: Path) -> None:
    assert facts(_stored(tmp_path, "silent", "running", intervals=3, age=1000)).state == "stopped"
    here = {"host": platform.node()}
    assert facts(_stored(tmp_path, "killed", "running", intervals=3, age=1, **here)).state == "stopped"
    elsewhere = {"host": "another"}
    assert facts(_stored(tmp_path, "far", "running", intervals=3, age=1, **elsewhere)).state == "running"


@pytest.mark.skipif(not reading.LOCKS.exists(), reason="this system doesn't list its locks")
def test_a_run_whose_lock_is_held_is_running_however_long_it_is_silent(tmp_path: Path) -> None:
    folder = _stored(tmp_path, "seed=0", "running", intervals=3, age=5000)
    with RunStore.open(folder).lock():
        assert facts(folder).state == "running"
    assert facts(folder).state == "stopped"


def test_a_rest_between_two_intervals_is_no_slowness(tmp_path: Path) -> None:
    folder = _stored(tmp_path, "seed=0", "running", intervals=4, age=5)
    newest = layout.parts(folder, "intervals")[-1]
    for part in layout.parts(folder, "intervals")[:-1]:
        os.utime(part, (part.stat().st_mtime - 9000,) * 2)
    assert newest.stat().st_mtime == NOW - 5
    assert facts(folder).tokens_per_second == pytest.approx(2.0)


def test_broken_runs_are_named_and_hinder_nobody(tmp_path: Path) -> None:
    _stored(tmp_path, "seed=0", "finished", intervals=3)
    broken = _stored(tmp_path, "seed=1", "finished", intervals=3)
    (broken / layout.MANIFEST).write_text("{")
    part = layout.parts(_stored(tmp_path, "seed=2", "diverged", intervals=2), "intervals")[-1]
    part.write_bytes(b"no parquet")
    text = overview(tmp_path, 100)
    assert "study/seed=1  unreadable" in text
    assert "study: 2 of 3 done, 1 of them diverged, 1 unreadable" in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int, tmp_path: Path) -> None:
    _stored(tmp_path, "seed=0,optimizer.lr=0.003,model=llama_tiny_with_a_long_name", "running", intervals=5)
    _stored(tmp_path, "seed=1", "finished", intervals=11)
    text = overview(tmp_path, width)
    assert max(map(len, text.splitlines())) <= width
    assert "finished"[: width - 2] in text


def test_a_sweep_counts_what_is_still_to_come(tmp_path: Path) -> None:
    _stored(tmp_path, "seed=0", "finished", intervals=11)
    _stored(tmp_path, "seed=1", "running", intervals=5, age=0, host="another")
    for began, seeds in {"2026-01-02_00-00-00": "0,1,2,3", "2026-01-01_00-00-00": "0,77,78"}.items():
        sweep = tmp_path / ".sweeps" / began
        sweep.mkdir(parents=True)
        (sweep / "multirun.yaml").write_text(
            f"hydra: {{overrides: {{task: ['experiment=study', 'seed={seeds}', 'x=[1,2]']}}}}\n"
        )
    for folder in (tmp_path, tmp_path / "study"):
        line = overview(folder, 120).splitlines()[-1]
        # the running one needs 300 s more, the two others 500 s each, one after the other
        assert line == "study: 1 of 4 done, 1 running, 2 to come; 21 min 40 s left for all"
    asked = ["-m", "name=study", f"runs_dir={tmp_path}", "seed=0,1,5"]
    assert lines_of_the_sweep(asked) == [
        "study: 1 of 3 done, 1 running, 1 to come; 13 min 20 s left for all",
        f"to see it: python -m trajlab report {tmp_path / 'study'}",
    ]
    assert lines_of_the_sweep(["-m", "name=other", f"runs_dir={tmp_path}", "seed=0,1"]) == []


def test_parts_that_were_joined_and_parts_that_were_added_later(tmp_path: Path) -> None:
    folder = _stored(tmp_path, "seed=0", "finished", intervals=1)
    rows = [
        {"tokens": t, "split": "valid", "variant": "raw", "loss": 5.0 - t, "tokens_per_second": 9.0} for t in (0, 3)
    ]
    _part(folder, "intervals", 0, rows, NOW)
    pq.write_table(pa.table({"tokens": [9], "variant": ["swa"]}), layout.part_path(folder, "intervals", 0, "swa"))
    assert (facts(folder).tokens, facts(folder).loss) == (3, 2.0)


def test_names_of_a_sweeps_runs() -> None:
    keys = {"run_keys": "[seed,optimizer.lr,data.source]", "data.source": "a/b.txt", "optimizer.lr": "3e-3,1e-2"}
    assert run_names({**keys, "seed": "0,1"}) == {
        f"seed={s},optimizer.lr={lr},data.source=a-b.txt" for s in (0, 1) for lr in ("0.003", "0.01")
    }
    assert run_names({}) == {"seed=0"}
    assert run_names({"seed": "range(0,9)"}) == set()


def test_time_left_with_two_side_by_side() -> None:
    def run(state: str, tokens: int, left: float | None = None) -> Facts:
        return Facts(Path("x"), "e", "r", state, tokens, 1000, 1.0, 10.0, left)

    runs = [run("running", 500, 50.0), run("running", 900, 10.0), run("stopped", 400)]
    assert seconds_left(runs, to_come=1) == pytest.approx((50 + 10 + 60 + 100) / 2)
    assert seconds_left(runs[:1], to_come=0) == 50.0
    assert seconds_left([run("running", 5)], to_come=0) is None
    assert sweep_line("e", [run("finished", 1000)] * 2, 0) == "e: 2 of 2 done"


def test_it_needs_neither_torch_nor_pandas(tmp_path: Path) -> None:
    _stored(tmp_path, "seed=0", "finished", intervals=2)
    shown = f"import sys; from trajlab.status import main; main([{str(tmp_path)!r}])"
    code = f"{shown}; print([m for m in ('torch', 'hydra', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "finished" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="is no folder"):
        main([str(tmp_path / "no")])
    main([str(tmp_path)])
    assert "no run is stored here" in capsys.readouterr().out
