"""The reader, on stores written by hand."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trajlab.analysis.load import load_runs


def write_run(
    root: Path, experiment: str, run: str, fingerprint: str = "f", status: str = "finished", floor: float | None = 1.5
) -> None:
    folder = root / experiment / run
    data = {"source": "embedded:x", "fingerprint": fingerprint, "entropy_floor": {"valid": floor}}
    (folder / "metrics" / "intervals").mkdir(parents=True)
    (folder / "manifest.json").write_text(
        json.dumps({"experiment": experiment, "run": run, "status": status, "data": data})
    )
    for interval in (0, 1):
        table = pa.table({"experiment": [experiment], "run": [run], "interval": [interval], "loss": [float(interval)]})
        pq.write_table(table, folder / "metrics" / "intervals" / f"part-{interval:05d}.parquet")


def test_a_folder_of_experiments(tmp_path: Path) -> None:
    for run in ("seed=0", "seed=1"):
        write_run(tmp_path, "a", run)
    write_run(tmp_path, "b", "seed=0", fingerprint="other")
    runs = load_runs(tmp_path)
    assert len(runs.manifests) == 3
    assert runs.intervals.shape[0] == 6
    assert len(runs.select(experiment="a").intervals) == 4
    assert runs.positions.empty
    assert runs.entropy_floor("valid") == 1.5


def test_unfinished_runs_can_be_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0")
    write_run(tmp_path, "a", "seed=1", status="running")
    assert len(load_runs(tmp_path).manifests) == 2
    assert len(load_runs(tmp_path, finished_only=True).manifests) == 1


def test_different_data_in_one_experiment_is_refused_unless_it_was_swept(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0,data.unique_tokens=1", fingerprint="x")
    write_run(tmp_path, "a", "seed=0,data.unique_tokens=2", fingerprint="y")
    assert len(load_runs(tmp_path).manifests) == 2
    write_run(tmp_path, "a", "seed=1,data.unique_tokens=2", fingerprint="z")
    with pytest.raises(ValueError, match="can't be pooled"):
        load_runs(tmp_path)


def test_no_run_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run is stored here"):
        load_runs(tmp_path)


def test_floors_that_differ_are_no_floor(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0")
    write_run(tmp_path, "b", "seed=0", floor=None)
    assert load_runs(tmp_path).entropy_floor("valid") is None


def test_another_format_is_refused_and_an_absent_one_is_read(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0")
    assert len(load_runs(tmp_path).manifests) == 1
    path = tmp_path / "a" / "seed=0" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"format": 1}))
    assert len(load_runs(tmp_path).manifests) == 1
    path.write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(ValueError, match=r"manifest\.json is of format 99, this version of trajlab knows format 1"):
        load_runs(tmp_path)


def test_a_column_of_another_type_is_converted_or_named(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0")
    part = tmp_path / "a" / "seed=0" / "metrics" / "intervals" / "part-00000.parquet"
    pq.write_table(pa.table({"interval": pa.array([0], pa.int32()), "loss": pa.array([7], pa.int64())}), part)
    assert load_runs(tmp_path).intervals["loss"].tolist()[-1] == 7.0
    pq.write_table(pa.table({"interval": [0], "loss": ["seven"]}), part)
    with pytest.raises(ValueError, match=r"part-00000\.parquet: column loss is of type string, expected is double"):
        load_runs(tmp_path)


def test_probes_stay_in_their_order_and_tables_of_plug_ins_are_read(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0")
    for name, rows in (("probes", {"probe": [0, 1, 2], "position": [9, 3, 5]}), ("mine", {"anything": [True]})):
        folder = tmp_path / "a" / "seed=0" / "metrics" / name
        folder.mkdir()
        pq.write_table(
            pa.table({"run": ["seed=0"] * len(next(iter(rows.values()))), **rows}), folder / "part-00000.parquet"
        )
    runs = load_runs(tmp_path)
    assert runs.table("probes")["probe"].tolist() == [0, 1, 2]
    assert runs.table("mine")["anything"].tolist() == [True]


def test_a_diverged_seed_is_named_and_takes_no_other_seed_with_it(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "a", f"seed={seed}", status="diverged" if seed == 1 else "finished")
    runs = load_runs(tmp_path)
    assert set(runs.intervals["run"]) == {"seed=0", "seed=2"}
    assert runs.caption.endswith("2 runs · left out, since diverged: a/seed=1")
    assert set(load_runs(tmp_path, diverged=True).intervals["run"]) == {"seed=0", "seed=1", "seed=2"}
    with pytest.raises(FileNotFoundError, match="every run stored here has diverged"):
        load_runs(tmp_path / "a" / "seed=1")
