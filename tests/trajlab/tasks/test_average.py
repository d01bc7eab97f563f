"""``task=average`` on stored runs and local series."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MICRO, run_here
from trajlab.analysis.load import load_runs
from trajlab.checkpoints.snapshots import load_snapshot
from trajlab.errors import UserError
from trajlab.store.layout import MANIFEST_KEYS
from trajlab.store.run_store import RunStore
from trajlab.tasks.average import local_series

AVERAGER = (
    "+callbacks.checkpoint_averaging={_target_:trajlab.callbacks.checkpoint_averaging.CheckpointAveraging,"
    "averagers:[{_target_:trajlab.averaging.lawa,k:3,every_tokens:320}]}"
)


def averaged(runs: Path, *more: str) -> None:
    run_here("task=average", f'runs="{runs}"', *more)  # quoted, since a run's name has an = in it


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    run_here(*MICRO, AVERAGER, f"runs_dir={folder}")
    run = next(folder.glob("*/seed=0"))
    averaged(folder, "scheme=lawa", "k=3", "variant=offline3")
    return run


def test_lawa_over_snapshots_equals_lawa_along_training_in_every_table(stored):
    runs = load_runs(stored)
    for table in ("intervals", "positions"):
        frame = runs.table(table).drop(columns=["seconds_eval"], errors="ignore")
        frame = frame.dropna(axis=1).drop(columns=["lr", "grad_norm"], errors="ignore")
        online, offline = (
            frame[frame["variant"] == v].drop(columns="variant").reset_index(drop=True) for v in ("lawa3", "offline3")
        )
        assert len(online) > 0
        pd.testing.assert_frame_equal(online, offline, check_exact=True)


def test_the_manifest_states_facts_so_that_no_reader_needs_our_rules(stored):
    manifest = RunStore.open(stored).manifest()
    assert set(manifest) <= set(MANIFEST_KEYS)
    assert manifest["averagers"] == [
        {
            "name": "lawa3", "kind": "lawa", "every_tokens": 320, "start_tokens": 1, "window_snapshots": 3, "decay": None,
            "window_tokens": 960,
        }
    ]  # fmt: skip
    assert manifest["position_weighting"] == {"weighting": "none", "factor": 0.5, "first": None, "last": None}
    assert manifest["model"]["class"] == "trajlab.models.llama.LlamaModel"
    assert manifest["model"]["arguments"]["width"] == 16
    assert manifest["mixtures"] is None


def test_an_averaged_snapshot_opens_like_any_other(stored):
    path = max((stored / "averages" / "offline3").glob("*.safetensors"))
    model, weights = load_snapshot(path), load_file(path)
    assert all(torch.equal(t, weights[n]) for n, t in model.state_dict().items() if n in weights)
    raw = [load_file(p) for p in sorted((stored / "snapshots").iterdir())[-3:]]
    expected = sum(r["norm.weight"].double() for r in raw) / 3
    assert torch.equal(weights["norm.weight"], expected.float())


def test_a_name_that_has_rows_is_refused(stored):
    with pytest.raises(UserError, match=r"rows of a variant lawa3 already.*variant="):
        averaged(stored, "scheme=lawa", "k=3")


def test_overwrite_replaces_what_the_task_wrote(stored):
    before = load_runs(stored).intervals
    averaged(stored, "scheme=lawa", "k=3", "variant=offline3", "overwrite=true")
    again = load_runs(stored).intervals
    pd.testing.assert_frame_equal(before.drop(columns="seconds_eval"), again.drop(columns="seconds_eval"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["scheme=median"], "lawa, ema, uniform, merge"),
        (["scheme=ema", "decay=1.0"], "decay must be in"),
        (["scheme=merge", "decay_shape=none"], "linear, cosine"),
        (["start_tokens=1000000"], "no snapshots from 1,000,000"),
        (["k=0"], "k=0 must be at least 1"),
    ],
)
def test_a_wrong_value_is_refused(stored, more, words):
    with pytest.raises(UserError, match=words):
        averaged(stored, *more)


def test_a_local_series_is_averaged_in_the_order_of_its_numbers(tmp_path):
    for step in (10, 2, 1):
        folder = tmp_path / "series" / f"step{step}"
        folder.mkdir(parents=True)
        save_file({"w": torch.full((2,), float(step))}, folder / "model.safetensors")
    assert [name for name, _ in local_series(tmp_path / "series")] == ["step1", "step2", "step10"]
    averaged(tmp_path / "series", "scheme=lawa", "k=2")
    written = load_file(tmp_path / "series-lawa2" / "step10" / "model.safetensors")
    assert written["w"].tolist() == [6.0, 6.0]


def test_a_folder_of_neither_is_refused(tmp_path):
    with pytest.raises(UserError, match="neither runs"):
        averaged(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        averaged(tmp_path / "absent")


def files(folder: Path) -> dict[Path, bytes]:
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_overwrite_leaves_the_run_alone(stored):
    before = files(stored)
    with pytest.raises(UserError, match="can't name a folder"):
        averaged(stored, "scheme=lawa", "k=3", "variant=..", "overwrite=true", "evaluate=false")
    for to in (stored, stored / "snapshots"):
        with pytest.raises(UserError, match="only averages named lawa3 are replaced"):
            averaged(stored, "scheme=lawa", "k=3", f'to="{to}"', "overwrite=true", "evaluate=false")
    assert files(stored) == before


def rows(run: Path) -> pd.DataFrame:
    return load_runs(run).intervals.drop(columns="seconds_eval")


@pytest.mark.parametrize("more", [[], ["overwrite=true"]])
def test_a_command_killed_before_all_is_scored_goes_on_when_given_again(stored, monkeypatch, more):
    line = ("scheme=lawa", "k=2", f"variant=killed{len(more)}")
    if more:
        averaged(stored, *line)
    write, calls = RunStore.write, []

    def killed_at_the_third(store, *arguments, **more):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(store, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "write", killed_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            averaged(stored, *line, *more)
    averaged(stored, *line, *more)
    averaged(stored, "scheme=lawa", "k=2", "variant=whole")
    ours, whole = (
        rows(stored).query(f"variant == '{v}'").drop(columns="variant").reset_index(drop=True)
        for v in (line[-1].removeprefix("variant="), "whole")
    )
    pd.testing.assert_frame_equal(ours, whole)
    assert len(ours) == 6
    for variant in ("whole", line[-1].removeprefix("variant=")):  # the other tests count variants
        averaged(stored, "scheme=lawa", "k=2", f"variant={variant}", "overwrite=true", "evaluate=false")
    assert set(rows(stored)["variant"]) == {"raw", "lawa3", "offline3"}


def test_a_run_with_a_broken_snapshot_doesn_t_keep_the_others_from_their_averages(stored, tmp_path):
    for seed in (0, 1):
        shutil.copytree(stored, tmp_path / "study" / f"seed={seed}", ignore=shutil.ignore_patterns("averages", ".lock"))
    broken = sorted((tmp_path / "study" / "seed=0" / "snapshots").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"{broken}(.|\n)*The other 1 of 2 runs are done"):
        averaged(tmp_path / "study", "scheme=uniform", "evaluate=false")
    assert not (tmp_path / "study" / "seed=0" / "averages").exists()
    assert (tmp_path / "study" / "seed=1" / "averages" / "uniform" / "provenance.json").is_file()


def test_a_run_that_is_being_written_is_not_averaged(stored):
    with RunStore.open(stored).lock(), pytest.raises(UserError, match="another process is writing"):
        averaged(stored, "scheme=uniform", "evaluate=false")
