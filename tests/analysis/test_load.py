"""The reader, on stores written by hand."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trajlab.analysis.__main__ import main
from trajlab.analysis.load import Runs, load_runs


def write_run(
    root: Path,
    experiment: str,
    run: str,
    fingerprint: str = "f",
    status: str = "finished",
    floor: float | None = 1.5,
    loss: float = 0.0,
) -> None:
    folder = root / experiment / run
    data = {"source": "embedded:x", "fingerprint": fingerprint, "entropy_floor": {"valid": floor}}
    (folder / "metrics" / "intervals").mkdir(parents=True)
    (folder / "manifest.json").write_text(
        json.dumps({"experiment": experiment, "run": run, "status": status, "data": data})
    )
    for interval in (0, 1):
        who = {"experiment": [experiment], "run": [run], "interval": [interval], "variant": ["raw"], "split": ["valid"]}
        table = pa.table({**who, "loss": [loss or float(interval)]})
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


def test_several_values_are_selected_by_a_list(tmp_path: Path) -> None:
    for run in ("seed=0", "seed=1", "seed=2"):
        write_run(tmp_path, "a", run)
    runs = load_runs(tmp_path)
    some = runs.select(run=["seed=0", "seed=2"])
    assert some.intervals["run"].unique().tolist() == ["seed=0", "seed=2"]
    assert [m["run"] for m in some.manifests] == ["seed=0", "seed=2"]
    assert len(some.select(interval=(1, 1)).intervals) == 2
    in_memory = Runs(dict(runs.tables.items()), runs.manifests)
    assert in_memory.select(run={"seed=1"}, interval=range(2)).intervals["run"].tolist() == ["seed=1"] * 2
    pytest.importorskip("duckdb")
    assert len(some.scan("intervals").df()) == 4
    with pytest.raises(ValueError, match="run='seed=9'.* selects nothing"):
        runs.select(run=["seed=0", "seed=9"])
    with pytest.raises(ValueError, match="name at least one value"):
        runs.select(run=[])


def test_unfinished_runs_can_be_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0")
    write_run(tmp_path, "a", "seed=1", status="running")
    with pytest.warns(UserWarning, match="1 of 2 runs is not finished.*seed=1.*finished_only"):
        runs = load_runs(tmp_path)
    assert len(runs.manifests) == 2
    assert runs.caption.endswith("2 runs, 1 not finished")
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
    with (
        pytest.warns(),
        pytest.raises(ValueError, match=r"manifest\.json is of format 99, this version of trajlab knows format 1"),
    ):
        load_runs(tmp_path)


def test_a_column_of_another_type_is_converted_or_named(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0")
    part = tmp_path / "a" / "seed=0" / "metrics" / "intervals" / "part-00000.parquet"
    who = {
        "experiment": ["a"],
        "run": ["seed=0"],
        "interval": pa.array([0], pa.int32()),
        "variant": ["raw"],
        "split": ["valid"],
    }
    pq.write_table(pa.table({**who, "loss": pa.array([7], pa.int64())}), part)
    assert load_runs(tmp_path).intervals["loss"].tolist()[0] == 7.0
    pq.write_table(pa.table({**who, "loss": ["seven"]}), part)
    with (
        pytest.warns(),
        pytest.raises(ValueError, match=r"part-00000\.parquet: column loss is of type string, expected is double"),
    ):
        load_runs(tmp_path)


def test_probes_stay_in_their_order_and_tables_of_plug_ins_are_read(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0")
    for name, rows in (("probes", {"probe": [0, 1, 2], "position": [9, 3, 5]}), ("mine", {"anything": [True]})):
        folder = tmp_path / "a" / "seed=0" / "metrics" / name
        folder.mkdir()
        n = len(next(iter(rows.values())))
        pq.write_table(
            pa.table(
                {"experiment": ["a"] * n, "run": ["seed=0"] * n, "interval": [0] * n, "split": ["valid"] * n, **rows}
            ),
            folder / "part-00000.parquet",
        )
    runs = load_runs(tmp_path)
    assert runs.table("probes")["probe"].tolist() == [0, 1, 2]
    assert runs.table("mine")["anything"].tolist() == [True]


def spoil_manifest(content: str) -> Callable[[Path], object]:
    return lambda run: (run / "manifest.json").write_bytes(content.encode(errors="surrogateescape"))


def spoil_part(rows: pa.Table | None) -> Callable[[Path], object]:
    def spoil(run: Path) -> None:
        part = run / "metrics" / "intervals" / "part-00001.parquet"
        pq.write_table(rows, part) if rows is not None else part.write_bytes(part.read_bytes()[:-20])

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        *(spoil_manifest(text) for text in ("", "{", "{}", "[1]", '{"experiment": 1, "run": "x", "status": "x"}', "null", "\udcff")),
        spoil_manifest("[" * 100_000),
        spoil_part(None), spoil_part(pa.table({"a": [1]})),
        spoil_part(pa.table({"experiment": ["a"], "run": ["r"], "interval": [1], "loss": [1.0]})),
        spoil_part(
            pa.table({"experiment": ["a"], "run": ["r"], "interval": [1], "variant": ["raw"], "split": ["x"], "loss": [[1.0]]})
        ),
    ],
)  # fmt: skip
def test_a_run_that_can_t_be_read_is_named_and_the_others_are_loaded(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    for seed in range(3):
        write_run(tmp_path, "a", f"seed={seed}")
    whole = load_runs(tmp_path)
    assert whole.problems == []
    spoil(tmp_path / "a" / "seed=1")
    with pytest.warns(UserWarning, match="left out: .*seed=1"):
        runs = load_runs(tmp_path)
    assert [m["run"] for m in runs.manifests] == ["seed=0", "seed=2"]
    assert set(runs.intervals["run"]) == {"seed=0", "seed=2"}
    assert len(runs.problems) == 1
    assert str(tmp_path / "a" / "seed=1") in runs.problems[0]
    assert "\n" not in runs.problems[0]


def test_foreign_files_beside_the_tables_are_nobody_s(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "seed=0")
    before = load_runs(tmp_path)
    metrics = tmp_path / "a" / "seed=0" / "metrics"
    (metrics / "empty").mkdir()
    (metrics / "intervals" / "part-foo.parquet").write_text("no parquet")
    (metrics / "intervals" / "part-00007.parquet").mkdir()
    (metrics / "notes.txt").write_text("mine")
    replaced = tmp_path / "a" / ".seed=0.replaced-0"
    shutil.copytree(tmp_path / "a" / "seed=0", replaced)
    after = load_runs(tmp_path)
    assert after.tables.keys() == before.tables.keys()
    assert after.intervals.equals(before.intervals)
    assert len(after.manifests) == 1


def test_the_report_names_a_run_that_can_t_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Runs] = []
    monkeypatch.setattr("trajlab.analysis.report.write_report", lambda runs, *_, **__: written.append(runs))
    for seed in range(2):
        write_run(tmp_path / "runs", "a", f"seed={seed}")
    (tmp_path / "runs" / "a" / "seed=1" / "manifest.json").write_text("{")
    main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert "left out: " in said.err
    assert "seed=1" in said.err
    assert [m["run"] for m in written[0].manifests] == ["seed=0"]


def test_a_diverged_seed_is_named_and_takes_no_other_seed_with_it(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "a", f"seed={seed}", status="diverged" if seed == 1 else "finished")
    runs = load_runs(tmp_path)
    assert set(runs.intervals["run"]) == {"seed=0", "seed=2"}
    assert runs.caption.endswith("2 runs · left out, since diverged: a/seed=1")
    assert set(load_runs(tmp_path, diverged=True).intervals["run"]) == {"seed=0", "seed=1", "seed=2"}
    with pytest.raises(FileNotFoundError, match="every run stored here has diverged"):
        load_runs(tmp_path / "a" / "seed=1")
