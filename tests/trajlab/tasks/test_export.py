"""``task=export`` writes a whole folder or none, and never over anything."""

from pathlib import Path

import pytest

from tests.conftest import MICRO, run_here
from trajlab.checkpoints.sources import RunSeries
from trajlab.errors import UserError
from trajlab.tasks import made_series


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run_here(*MICRO, f"runs_dir={folder}")
    return next(folder.glob("*/seed=0"))


def export(run: Path, to: Path) -> None:
    snapshot = max((run / "snapshots").iterdir())
    run_here(*MICRO, "task=export", f'snapshot="{snapshot}"', f"to={to}")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_command_again_is_no_mistake_and_nothing_is_written_over(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "to")
    before = contents(tmp_path / "to")
    export(run, tmp_path / "to")
    assert contents(tmp_path / "to") == before
    (tmp_path / "to" / "config.json").write_text("somebody's")
    with pytest.raises(UserError, match="holds something else already"):
        export(run, tmp_path / "to")
    assert (tmp_path / "to" / "config.json").read_text() == "somebody's"
    assert [p.name for p in tmp_path.iterdir()] == ["to"]


def test_two_evaluations_of_a_run_have_their_own_files(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (RunSeries(str(run), cache_dir=str(tmp_path)) for _ in range(2))
    checkpoint = first.checkpoints()[0]
    here = first.fetch(checkpoint)
    monkeypatch.setattr("os.getpid", lambda: 1)
    there = second.fetch(checkpoint)
    second.release(checkpoint)
    assert not there.exists()
    monkeypatch.undo()
    assert (here / "model.safetensors").is_file()
    first.fetch(first.checkpoints()[1])
    assert (here / "model.safetensors").is_file(), "what is in use is nobody's leftover"
    for c in first.checkpoints()[:2]:
        first.release(c)
    assert not list((tmp_path / "checkpoints").rglob("*.safetensors"))


def test_half_deleted_folders_are_made_again(run: Path, tmp_path: Path) -> None:
    series = RunSeries(str(run), cache="keep", cache_dir=str(tmp_path))
    checkpoint = series.checkpoints()[0]
    folder = series.fetch(checkpoint)
    whole = contents(folder)
    left = folder.with_name(f".{folder.name}.{2**22 + 1}.part")
    left.mkdir()
    for name in ("tokenizer.json", "config.json", "model.safetensors"):
        (folder / name).unlink()
        assert series.fetch(checkpoint) == folder
        assert contents(folder) == whole
    assert not left.exists()


def test_what_a_killed_evaluation_left_goes_though_nothing_is_to_be_brought(run: Path, tmp_path: Path) -> None:
    series = RunSeries(str(run), cache_dir=str(tmp_path))
    left = tmp_path / "checkpoints" / "-".join(run.resolve().parts[-2:]) / f".tokens=1-ab.{2**22 + 1}.part"
    left.mkdir(parents=True)
    (left / "config.json").write_text("{}")
    series.checkpoints()
    assert not left.parent.exists()


def test_material_that_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    thesis = tmp_path / "checkpoint_series_small_material" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    with pytest.raises(UserError, match="holds no material of checkpoint_series_small"):
        run_here("experiment=checkpoint_series_small", f"runs_dir={tmp_path}", "overwrite=true")
    assert thesis.read_text() == "years of work"
    assert not made_series._is_material(thesis.parent, "checkpoint_series_small")
