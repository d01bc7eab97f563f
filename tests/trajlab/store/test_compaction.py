"""Parts are joined and come back, to the bit; whatever happens in between, the rows are there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import run_here
from trajlab.analysis.load import load_runs
from trajlab.errors import UserError
from trajlab.protocols import Interval
from trajlab.store import compaction, layout
from trajlab.store.compaction import compact, expand
from trajlab.store.renumber import finish_renumbering, renumber
from trajlab.store.run_store import RunStore, read_part

INTERVALS = 40


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run: three tables, one of a plug-in, with suffixes and a column that came later."""
    store = RunStore(tmp_path / "a" / "seed=0", "a", "seed=0", 0)
    store.update_manifest(status="finished", config={}, data={})
    for i in range(INTERVALS):
        at = Interval(i, 10 * i, 10 * i, i)
        for suffix, variant in (("", "raw"), ("lawa5", "lawa5")):
            evaluated = {"variant": [variant] * 3, "split": ["valid"] * 3}
            store.write(
                "tokens",
                at,
                pa.table({**evaluated, "probe": [2, 0, 1], "nll": pa.array([1.5, i, 0.25], pa.float32())}),
                suffix,
            )
        later = {"added": [True]} if i > 20 else {}
        store.write("mine", at, pa.table({"x": [[float(i)]], **later}))
        for task in ("task-b", "task-a"):
            store.write("tasks", at, pa.table({"task": [task], "value": [i / 7]}), task)
    return store.folder


def _content(run: Path) -> dict[str, pa.Table]:
    return {f"{p.parent.name}/{p.name}": pq.read_table(p) for p in layout.parts(run)}


def _frames(run: Path) -> dict[str, str]:
    return {name: frame.to_json() for name, frame in load_runs(run).tables.items()}


def test_hundreds_become_few_and_come_back(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "ROW_GROUP", 7)  # parts span row groups
    before, frames = _content(run), _frames(run)
    assert compact(run) == (5 * INTERVALS, 6)
    assert _frames(run) == frames
    assert compact(run) == (6, 6)
    expand(run)
    after = _content(run)
    assert list(after) == list(before)
    assert all(after[name].equals(rows, check_metadata=True) for name, rows in before.items())
    expand(run)
    assert list(_content(run)) == list(before)


def test_what_was_added_afterwards_is_joined_too(run: Path) -> None:
    compact(run)
    store = RunStore.open(run)
    store.write("mine", Interval(INTERVALS, 1, 1, 1), pa.table({"x": [[1.0]], "added": [False]}))
    with_it = _frames(run)
    assert compact(run) == (7, 6)
    assert _frames(run) == with_it
    expand(run)
    assert len(layout.parts(run, "mine")) == INTERVALS + 1


@pytest.mark.parametrize("stop", ["publish", "put_in_place", "rename"])
def test_a_kill_at_any_point_leaves_the_rows(run: Path, monkeypatch: pytest.MonkeyPatch, stop: str) -> None:
    frames, calls, rename = _frames(run), [], Path.rename

    def killed(*_: object, **__: object) -> None:
        calls.append(stop)
        if len(calls) == 3 or stop == "put_in_place":
            raise KeyboardInterrupt

    def renamed(self: Path, to: Path) -> None:
        if self.name == compaction.NEW:
            raise KeyboardInterrupt
        rename(self, to)

    if stop == "rename":
        monkeypatch.setattr(Path, "rename", renamed)
    else:
        plain = getattr(compaction, stop)
        monkeypatch.setattr(compaction, stop, lambda *a: (killed(), plain(*a)))
    with pytest.raises(KeyboardInterrupt):
        compact(run)
    monkeypatch.undo()
    finish_renumbering(run)
    assert _frames(run) == frames
    run_here("task=compact", f"runs='{run}'")
    assert len(layout.parts(run)) == 6
    assert sorted(p.name for p in run.iterdir()) == [".lock", "manifest.json", "metrics"]


def test_a_disk_that_loses_a_row_is_noticed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, publish = _frames(run), compaction.publish

    def lossy(path: Path, write: Callable[[Path], object]) -> None:
        publish(path, write)
        metadata = pq.read_schema(path).metadata
        pq.write_table(pq.read_table(path).slice(1).replace_schema_metadata(metadata), path)

    monkeypatch.setattr(compaction, "publish", lossy)
    with pytest.raises(UserError, match="lacks rows|doesn't hold"):
        compact(run)
    assert _frames(run) == frames


def test_unfinished_and_broken_runs_are_refused_and_the_others_done(run: Path, tmp_path: Path) -> None:
    for name, status in (("seed=1", "running"), ("seed=2", "finished")):
        shutil.copytree(run, run.parent / name)
        manifest = json.loads((run / "manifest.json").read_text())
        (run.parent / name / "manifest.json").write_text(json.dumps({**manifest, "run": name, "status": status}))
    part = layout.parts(run.parent / "seed=2")[3]
    part.write_bytes(part.read_bytes()[:-3])
    with pytest.raises(UserError) as e:
        run_here("task=compact", f"runs={tmp_path}")
    assert "seed=1 is running" in str(e.value)
    assert f"{part} can't be read" in str(e.value)
    assert "The other 1 of 3 runs are compact." in str(e.value)
    assert [len(layout.parts(run.parent / f"seed={s}")) for s in range(3)] == [6, 200, 200]
    with pytest.raises(UserError, match="no run is stored there"):
        run_here("task=compact", f"runs={tmp_path / 'nowhere'}")


@pytest.mark.parametrize("size", [0, 100, -8])
def test_a_broken_part_is_named_by_whoever_reads_it(tmp_path: Path, size: int) -> None:
    run = tmp_path / "run"
    part = layout.part_path(run, "intervals", 1)
    part.parent.mkdir(parents=True)
    pq.write_table(pa.table({"interval": [1], "loss": [2.0]}), part)
    part.write_bytes(part.read_bytes()[:size])
    for read in (expand, lambda run: renumber(run, {1: 2}), lambda run: read_part(part)):
        with pytest.raises(UserError, match=r"part-00001\.parquet can't be read .*; restore it"):
            read(run)
    assert [p.name for p in run.iterdir() if p.name == "metrics"], "the run stays as it is"
