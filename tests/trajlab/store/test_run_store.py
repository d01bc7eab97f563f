"""The run store."""

import json
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trajlab.analysis.load import load_runs
from trajlab.errors import UserError
from trajlab.files import publish
from trajlab.protocols import Interval
from trajlab.store.compaction import compact
from trajlab.store.layout import FORMAT, snapshots
from trajlab.store.run_store import RunStore


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "run", "study", "seed=3", 3)


def at(index: int) -> Interval:
    return Interval(index, index * 100, index * 128, index * 2)


def test_a_part_carries_who_and_where_and_is_replaced_when_written_again(store: RunStore) -> None:
    for value in (1.0, 2.0):
        store.write("intervals", at(2), pa.table({"loss": [value]}))
    (part,) = store.folder.glob("metrics/intervals/*.parquet")
    assert pq.read_table(part).to_pylist() == [
        {"experiment": "study", "run": "seed=3", "seed": 3, "interval": 2, "tokens": 256, "step": 4, "loss": 2.0}
    ]


def test_rewind_takes_back_what_lies_beyond(store: RunStore) -> None:
    for i in range(4):
        store.write("intervals", at(i), pa.table({"loss": [0.0]}))
        store.save_snapshot(at(i), lambda path: path.touch())
    store.rewind(1, 128)
    assert sorted(p.stem for p in store.folder.glob("metrics/*/*")) == ["part-00000", "part-00001"]
    assert len(list(store.folder.glob("snapshots/*"))) == 2


def test_rewind_leaves_foreign_files_alone(store: RunStore) -> None:
    for i in range(2):
        store.write("intervals", at(i), pa.table({"loss": [0.0]}))
    metrics = store.folder / "metrics"
    (metrics / "empty").mkdir()
    (metrics / "intervals" / "part-foo.parquet").write_text("no parquet")
    (metrics / "intervals" / "part-00007.parquet").mkdir()
    (metrics / "notes.txt").write_text("mine")
    store.save_snapshot(at(1), lambda path: path.touch())
    (store.folder / "snapshots" / "best.safetensors").write_text("mine")
    store.rewind(0, 0)
    assert sorted(p.name for p in metrics.iterdir()) == ["empty", "intervals", "notes.txt"]
    assert sorted(p.name for p in (metrics / "intervals").iterdir()) == [
        "part-00000.parquet", "part-00007.parquet", "part-foo.parquet",
    ]  # fmt: skip
    assert [p.name for p in (store.folder / "snapshots").iterdir()] == ["best.safetensors"]
    assert store.read("intervals", ["interval"]).num_rows == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["two words", "[1] {x}*?", "a=b,c", "ü 猫 'quoted\"", "$HOME;#", "100%"])
def test_a_run_lies_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    store = RunStore(tmp_path / name / "study" / "seed=0", "study", "seed=0", 0)
    with store.lock():
        assert store.begin({"a": 1}) == "new"
        store.update_manifest(config={"a": 1}, status="finished")
        for i in range(3):
            store.write("intervals", at(i), pa.table({"variant": ["raw"], "split": ["valid"], "loss": [float(i)]}))
        store.save_snapshot(at(2), lambda path: path.touch())
        store.save_checkpoint(lambda path: path.touch())
        store.rewind(1, 999)
    assert load_runs(tmp_path / name).intervals["loss"].tolist() == [0.0, 1.0]
    assert len(snapshots(store.folder)) == 1
    assert compact(store.folder) == (2, 1)
    assert RunStore.open(store.folder).begin({"a": 1}) == "finished"


def test_a_failed_write_leaves_the_former_content(tmp_path: Path) -> None:
    target = tmp_path / "file"
    publish(target, lambda p: p.write_text("old"))

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        publish(target, fail)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_status(store: RunStore) -> None:
    config = {"a": 1, "b": {"c": 2}, "logger": {"csv": 1}}
    assert store.status(config) == "new"
    store.update_manifest(config=config, status="running")
    assert store.status({**config, "logger": {}}) == "resume"
    store.update_manifest(status="finished")
    assert store.status(config) == "finished"
    with pytest.raises(UserError, match="b.c: 2 there, 3 asked for"):
        store.status({"a": 1, "b": {"c": 3}})


def test_a_store_is_opened_by_its_folder_and_keeps_its_identity(store: RunStore) -> None:
    store.update_manifest(status="finished")
    opened = RunStore.open(store.folder)
    assert (opened.experiment, opened.run, opened.seed) == ("study", "seed=3", 3)
    assert opened.manifest() == {
        "format": FORMAT, "experiment": "study", "run": "seed=3", "seed": 3, "status": "finished",
    }  # fmt: skip
    with pytest.raises(UserError, match="is no run of trajlab"):
        RunStore.open(store.folder.parent)


def test_a_manifest_without_a_format_is_read_and_one_of_another_is_refused(store: RunStore) -> None:
    store.update_manifest(status="finished")
    manifest = json.loads((store.folder / "manifest.json").read_text())
    for entry, refused in (({}, False), ({"format": 1}, False), ({"format": 99}, True), ({"format": "new"}, True)):
        del manifest["format"]
        manifest |= entry
        (store.folder / "manifest.json").write_text(json.dumps(manifest))
        if refused:
            with pytest.raises(UserError, match=r"manifest\.json is of format .* knows format 1"):
                RunStore.open(store.folder)
        else:
            assert RunStore.open(store.folder).seed == 3
        manifest.setdefault("format", 1)


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}", "\udcff", "[" * 100_000], ids=range(6))
def test_a_broken_manifest_is_named(store: RunStore, content: str) -> None:
    store.folder.mkdir()
    (store.folder / "manifest.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"manifest\.json (can't be read|is no manifest)"):
        store.manifest()


def test_one_writer_at_a_time(store: RunStore) -> None:
    refused = []

    def second() -> None:
        try:
            with RunStore(store.folder, "study", "seed=3", 3).lock():
                pass
        except UserError as e:
            refused.append(str(e))

    with store.lock():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another process is writing" in refused[0]
