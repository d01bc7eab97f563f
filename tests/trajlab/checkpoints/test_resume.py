"""A run resumes from a checkpoint that is whole and runs no code, from the one before where the last is damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import MICRO, run_here
from tests.e2e.test_reproducibility import assert_same_tables, assert_same_weights
from tests.trajlab.tasks.test_stored_files_are_data import Executes
from trajlab.checkpoints.resume import NEEDED, newest_usable, not_plain_state
from trajlab.errors import UserError
from trajlab.store.run_store import RunStore


class Killed(BaseException):
    """In place of SIGKILL: nothing after it is done."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run in one piece, and one that was killed at its fifth checkpoint."""
    folder = tmp_path_factory.mktemp("runs")
    save, calls = RunStore.save_checkpoint, []

    def killed_at_the_fifth(store: RunStore, write: Callable[[Path], object]) -> None:
        save(store, write)
        calls.append(write)
        if len(calls) == 5:
            raise Killed

    run_here(*MICRO, f"runs_dir={folder / 'whole'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "save_checkpoint", killed_at_the_fifth)
        with pytest.raises(Killed):
            run_here(*MICRO, f"runs_dir={folder / 'cut'}")
    return folder / "whole", folder / "cut"


@pytest.fixture
def cut(runs: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(runs[1], tmp_path / "cut", ignore=shutil.ignore_patterns(".lock"))
    return next((tmp_path / "cut").glob("*/seed=0"))


def resume(run: Path) -> None:
    run_here(*MICRO, f"runs_dir={run.parents[1]}")


def truncated(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flipped(path: Path, _: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def without_a_tensor(path: Path, _: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["state_dict"].popitem()
    torch.save(content, path)


def malicious(path: Path, canary: Path) -> None:
    content = torch.load(path, weights_only=True)
    torch.save({**content, "callbacks": Executes(canary)}, path)


DAMAGES = (truncated, flipped, without_a_tensor, malicious, lambda path, _: path.write_bytes(b""))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    runs: tuple[Path, Path], cut: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    damage: Callable[[Path, Path], Any],
) -> None:  # fmt: skip
    damage(cut / "checkpoints" / "last.ckpt", tmp_path / "canary")
    resume(cut)
    said = capfd.readouterr().err
    assert "warning: " in said
    assert "the one before is used" in said
    assert "resumes at 1,280 tokens" in said
    assert_same_weights(next(runs[0].glob("*/seed=0")), cut)
    assert_same_tables(next(runs[0].glob("*/seed=0")), cut)
    assert not (tmp_path / "canary").exists()


def test_an_undamaged_one_is_resumed_from_without_a_warning(
    runs: tuple[Path, Path], cut: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    resume(cut)
    said = capfd.readouterr().err
    assert "resumes at 1,600 tokens" in said
    assert "warning" not in said
    assert [r["tokens"] for r in json.loads((cut / "manifest.json").read_text())["resumed"]] == [1600]
    assert_same_weights(next(runs[0].glob("*/seed=0")), cut)


def test_with_both_damaged_nothing_is_touched(cut: Path, tmp_path: Path) -> None:
    malicious(cut / "checkpoints" / "last.ckpt", tmp_path / "canary")
    truncated(cut / "checkpoints" / "previous.ckpt", tmp_path)
    before = {p: p.read_bytes() for p in cut.rglob("*.parquet")}
    with pytest.raises(
        UserError, match=r"last\.ckpt is refused.*would run code.*previous\.ckpt .*damaged.*overwrite=true"
    ):
        resume(cut)
    assert before == {p: p.read_bytes() for p in cut.rglob("*.parquet")}
    assert not (tmp_path / "canary").exists()


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert newest_usable([tmp_path / "last.ckpt"], {}) is None


@pytest.mark.parametrize(
    "wrong",
    [{"state_dict": []}, {"state_dict": {"w": 1}}, {"global_step": None}, {"state_dict": {"other": torch.ones(2)}}],
)
def test_a_file_of_another_kind_is_no_checkpoint(tmp_path: Path, wrong: dict[str, Any]) -> None:
    weights, path = {"w": torch.zeros(2)}, tmp_path / "last.ckpt"
    whole = {**{key: {} for key in NEEDED}, "state_dict": weights, "global_step": 3}
    torch.save(whole, path)
    assert newest_usable([path], weights) == (path, 3)
    torch.save(whole | wrong, path)
    with pytest.raises(
        UserError, match=r"last\.ckpt (is no checkpoint of a run|doesn't fit the model).*overwrite=true"
    ):
        newest_usable([path], weights)


def test_a_state_that_only_code_could_read_is_found_when_it_is_written() -> None:
    good = {"a": [1, 2.0, None, "x", (True,)], "b": {"t": torch.zeros(2)}}
    assert not_plain_state(good, "callbacks") is None
    assert not_plain_state({**good, "c": {"d": [Path("x")]}}, "callbacks") == "callbacks.c.d[0] (PosixPath)"
