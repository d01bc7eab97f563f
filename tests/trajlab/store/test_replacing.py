"""Nothing is deleted but the run that a new one replaces, and a kill at any moment leaves one of the two."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MICRO, SERIES_MICRO, run_here
from trajlab import files
from trajlab.errors import UserError
from trajlab.names import name_problems
from trajlab.store import layout
from trajlab.store.run_store import RunStore

CONFIG: dict[str, Any] = {"a": 1}


def store_at(root: Path, run: str = "seed=0") -> RunStore:
    return RunStore.below(root, "study", run, 0)


def written(store: RunStore) -> RunStore:
    store.update_manifest(config=CONFIG, status="finished")
    store.save_checkpoint(lambda p: p.write_text("old"))
    return store


def everything(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.is_file() and p.name != ".lock"
    }


def test_overwrite_replaces_this_run_alone(tmp_path: Path) -> None:
    sibling = written(store_at(tmp_path, "seed=1"))
    before = everything(sibling.folder)
    store = written(store_at(tmp_path))
    with store.lock():
        assert store.begin(CONFIG, overwrite=True) == "new"
        assert "old" in everything(tmp_path).values(), "the former run stands until the new one has begun"
        store.update_manifest(config=CONFIG, status="running")
    assert list(everything(store.folder)) == ["manifest.json"]
    assert sorted(p.name for p in (tmp_path / "study").iterdir()) == ["seed=0", "seed=1"]
    assert everything(sibling.folder) == before


def test_the_lock_holds_while_a_run_is_replaced(tmp_path: Path) -> None:
    store = written(store_at(tmp_path))
    with store.lock():
        store.begin(CONFIG, overwrite=True)
        with pytest.raises(UserError, match="another process is writing"), store_at(tmp_path).lock():
            pass


def test_a_run_killed_while_replacing_is_replaced_by_the_same_command(tmp_path: Path) -> None:
    store = written(store_at(tmp_path))
    with store.lock():
        store.begin(CONFIG, overwrite=True)  # and here it is killed
    again = store_at(tmp_path)
    with again.lock():
        assert again.begin(CONFIG, overwrite=True) == "new"
        again.update_manifest(config=CONFIG, status="running")
    assert [p.name for p in (tmp_path / "study").iterdir()] == ["seed=0"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "planted",
    [
        {"thesis.tex": "years of work"},
        {"metrics/intervals/part-00000.parquet": "rows of somebody"},
        {"checkpoints/last.ckpt": "weights"},
        {"manifest.json": json.dumps({"experiment": "another", "run": "seed=0", "config": {"a": 2}})},
        {"manifest.json": json.dumps({"experiment": "study", "run": "seed=1", "config": {"a": 2}})},
        {"manifest.json": "{"},
        {"manifest.json": "[1]"},
    ],
)
def test_a_folder_that_is_not_this_run_stays_as_it_is(tmp_path: Path, planted: dict[str, str], overwrite: bool) -> None:
    store = store_at(tmp_path)
    for name, content in planted.items():
        (store.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (store.folder / name).write_text(content)
    with pytest.raises(UserError, match=str(store.folder)), store.lock():
        store.begin(CONFIG, overwrite=overwrite)
    assert everything(store.folder) == planted


def test_a_run_within_the_run_is_not_replaced_with_it(tmp_path: Path) -> None:
    store = written(store_at(tmp_path))
    inner = RunStore(store.folder / "inner", "study", "inner", 0)
    inner.update_manifest(config=CONFIG)
    with pytest.raises(UserError, match="is another run within"), store.lock():
        store.begin(CONFIG, overwrite=True)
    assert inner.manifest()


def test_a_manifest_without_a_configuration_is_named(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.update_manifest(status="running")
    with pytest.raises(UserError, match=r"manifest\.json holds no configuration"):
        store.begin(CONFIG)


BAD = ["..", ".", "", "/abs", "../../x", "a/b", "a\\b", ".hidden", "x" * 201, "ü" * 101]


def test_one_check_of_names() -> None:
    assert all(name_problems("name", name) for name in [*BAD, "a\nb", "\ud800"])
    assert not any(name_problems("name", name) for name in (None, "seed=0,optimizer.lr=0.003", "tiny stories", "π"))


@pytest.mark.parametrize("name", [*BAD[:6], "x" * 300])
def test_what_is_no_name_is_refused_before_anything_is_touched(tmp_path: Path, name: str) -> None:
    written(RunStore.below(tmp_path, "study", "seed=1", 1))
    before = everything(tmp_path)
    training = [*MICRO, f"runs_dir={tmp_path}", "overwrite=true"]
    series = ["task=evaluate", "series=hf_folders", f"runs_dir={tmp_path}", "overwrite=true", "data.source=embedded"]
    pattern = [f"model.series.pattern='{tmp_path}/step{{step}}'", "model.series.tokens_per_step=1"]
    for line in (
        [*training, f"name='{name}'"],
        [*series, "name=study", f"model.name='{name}'", *pattern],
        ["task=average", f"runs={tmp_path}", f"variant='{name}'"],
    ):
        with pytest.raises(UserError, match="can't name a folder"):
            run_here(*line)
    assert everything(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["study"]


def test_no_run_keys_don_t_empty_the_experiment(tmp_path: Path) -> None:
    sibling = written(RunStore.below(tmp_path, "tinystories_budget_small", "seed=1", 1))
    before = everything(tmp_path)
    with pytest.raises(UserError, match="the run's name=''.*is empty"):
        run_here(*MICRO, f"runs_dir={tmp_path}", "run_keys=[]", "overwrite=true")
    assert everything(tmp_path) == before
    assert sibling.manifest()


def test_models_of_a_made_series_have_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the name of made='\.\./x' can't name a folder"):
        run_here(
            "experiment=checkpoint_series_small", *SERIES_MICRO, f"runs_dir={tmp_path}", "+made={../x: {}}"
        )  # fmt: skip


# ---- what killed processes leave


def test_leftovers_of_dead_processes_alone_are_removed(tmp_path: Path) -> None:
    dead = 2**22 + 1  # above every process number of Linux
    mine, parent = os.getpid(), os.getppid()
    for name in (
        f".last.ckpt.{dead}.part", f".last.ckpt.{parent}.part", f".other.{dead}.part", "note.part", ".vimrc.x.part",
        f".last.ckpt.{mine}.part",
    ):  # fmt: skip
        (tmp_path / name).write_text("")
    files.publish(tmp_path / "last.ckpt", lambda p: p.write_text("whole"))
    assert {p.name for p in tmp_path.iterdir()} == {
        "last.ckpt", f".last.ckpt.{parent}.part", f".other.{dead}.part", "note.part", ".vimrc.x.part",
    }  # fmt: skip
    files.remove_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "last.ckpt", f".last.ckpt.{parent}.part", "note.part", ".vimrc.x.part",
    }  # fmt: skip


def test_what_another_machine_is_writing_is_left_for_a_day(tmp_path: Path) -> None:
    theirs, old = (tmp_path / f".last.ckpt.@0123abcd.{2**22 + i}.part" for i in (1, 2))
    for path in (theirs, old):
        path.write_text("half")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    files.publish(tmp_path / "last.ckpt", lambda p: p.write_text("whole"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [theirs.name, "last.ckpt"]


def test_a_run_that_begins_again_has_no_leftovers(tmp_path: Path) -> None:
    store = written(store_at(tmp_path))
    left = layout.part_path(store.folder, "intervals", 3).with_name(f".part-00003.parquet.{2**22 + 1}.part")
    left.parent.mkdir(parents=True)
    left.write_text("half")
    with store.lock():
        assert store.begin(CONFIG) == "finished"
    assert not left.exists()


# ---- disks


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("I/O error: No space left on device (os error 28)")]
)
def test_a_full_disk_is_one_line_with_a_remedy(tmp_path: Path, error: Exception) -> None:
    def full(path: Path) -> None:
        path.write_text("half")
        raise error

    with pytest.raises(UserError, match=r"file can't be written: the disk is full; free some space.*goes on"):
        files.publish(tmp_path / "file", full)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [OSError(27, "File too large"), Exception("File too large (os error 27)"), FileExistsError(17, "File exists")],
)
def test_a_quota_and_a_file_in_a_folder_s_place_are_one_line(tmp_path: Path, error: Exception) -> None:
    def refused(path: Path) -> None:
        raise error

    with pytest.raises(UserError, match=r"file can't be written \(File .*\); name a place"):
        files.publish(tmp_path / "file", refused)


def test_a_place_that_can_t_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="can't be written"), store_at(tmp_path / "runs").lock():
        pass
