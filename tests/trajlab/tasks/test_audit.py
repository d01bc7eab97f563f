"""``task=audit`` on folders, on a run's snapshots and on what a hub answers."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.hf_api import GitRefInfo, GitRefs, RepoFile, RepoFolder
from hydra.core.global_hydra import GlobalHydra

from tests.conftest import run_here
from tests.series_material import write_checkpoint, write_series
from trajlab.analysis.load import load_runs
from trajlab.checkpoints.sources import FolderSeries, HubSeries
from trajlab.checkpoints.weights import read_weights, write_weights
from trajlab.command_line import run_line
from trajlab.tasks import evaluate as evaluation
from trajlab.tasks.audit import FaultsFound, cheap_faults


def _audit(folder: Path, runs: Path, *more: str) -> None:
    run_here(
        "task=audit", "series=hf_folders", "name=audit", "model.name=tiny", f"runs_dir={runs}",
        f"model.series.pattern='{folder}/step{{step}}'", "model.series.tokens_per_step=1000", *more,
    )  # fmt: skip


def test_a_series_of_folders_is_audited(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [0, 1])
    shutil.copytree(folder / "step1", folder / "step2")
    spec = json.loads((folder / "step2/config.json").read_text())
    (folder / "step2/config.json").write_text(json.dumps({**spec, "rotary_pct": 0.5}))
    with pytest.raises(FaultsFound, match="2 faults in 3 checkpoints") as told:
        _audit(folder, tmp_path / "runs")
    assert "same_weights: step1, step2" in str(told.value)
    runs = load_runs(tmp_path / "runs")
    kinds = [f["kind"] for f in runs.manifests[0]["faults"]]
    assert kinds == ["config", "same_weights"]
    tensors = runs.table("tensors")
    assert tensors.groupby("interval").size().nunique() == 1
    assert (tensors.query("interval == 2")["distance_previous"] == 0).all()
    with pytest.raises(FaultsFound, match="1 fault in"):
        _audit(folder, tmp_path / "runs", "weights=false")


def test_a_runs_snapshots_are_audited(
    micro: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = micro()
    run_here(
        "task=audit", "series=trajlab_run", "name=audit", "model.name=mine", f"model.series.run='{run}'",
        f"runs_dir={tmp_path / 'audits'}",
    )  # fmt: skip
    assert "no fault in 7 checkpoints" in capfd.readouterr().err


# ---- the hub, by answers in the form in which it gives them

STEPS = range(1000, 21000, 1000)
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
CONTENT = {"config": {"layers": 2}, "config 2": {"layers": 3}, "tokenizer": {"model": 1}, "tokenizer 2": {"model": 2}}


def _large(path: str, sha256: str, size: int) -> dict[str, Any]:
    lfs = {"oid": sha256, "size": size, "pointerSize": 135}
    return {"type": "file", "oid": f"pointer of {sha256}", "size": size, "lfs": lfs, "path": path, "xetHash": "x"}


def _small(path: str, oid: str, size: int = 700) -> dict[str, Any]:
    return {"type": "file", "oid": oid, "size": size, "path": path}


def _answers() -> dict[str, list[dict[str, Any]]]:
    """What ``/api/models/<repo>/tree/<revision>`` answers for each revision of a clean series."""
    return {
        f"step{s}": [
            {"type": "directory", "oid": "d", "size": 0, "path": "logs"},
            _small("config.json", "config"), _small("tokenizer.json", "tokenizer", 9000), _small("README.md", f"readme {s}"),
            _large(FIRST, f"a{s}", 5_000_000), _large(SECOND, f"b{s}", 4_000_000),
            _large("logs/events.bin", "the same everywhere", 1000),
        ]
        for s in STEPS
    }  # fmt: skip


def _put(revision: str, *files: dict[str, Any]) -> Callable[[dict[str, list[dict[str, Any]]]], None]:
    def plant(answers: dict[str, list[dict[str, Any]]]) -> None:
        paths = {f["path"] for f in files}
        answers[revision] = [f for f in answers.get(revision, []) if f["path"] not in paths] + list(files)

    return plant


PLANTED: dict[str, tuple[Callable[[dict[str, Any]], object], list[tuple[str, tuple[str, ...]]]]] = {
    "clean": (lambda a: None, []),
    "two branches with the same weights": (
        _put("step1000", _large(FIRST, "a20000", 5_000_000), _large(SECOND, "b20000", 4_000_000)),
        [("same_weights", ("step1000", "step20000"))],
    ),
    "three with the same weights": (
        lambda a: [_put(r, _large(FIRST, "a9000", 5_000_000), _large(SECOND, "b9000", 4_000_000))(a)
                   for r in ("step2000", "step4000")],
        [("same_weights", ("step2000", "step4000", "step9000"))],
    ),
    "shards of two": (_put("step9000", _large(SECOND, "b3000", 4_000_000)), [("mixed", ("step9000", "step3000"))]),
    "a revision is missing": (lambda a: a.pop("step5000"), [("missing", ("step5000",))]),
    "a revision without weights": (
        lambda a: a.update(step5000=[f for f in a["step5000"] if "safetensors" not in f["path"]]),
        [("missing", ("step5000",))],
    ),
    "one between the others": (
        lambda a: a.update(step5500=[{**f, "lfs": {**f["lfs"], "oid": f"x{n}"}} if "lfs" in f else f
                                     for n, f in enumerate(a["step5000"])]),
        [("extra", ("step5500",))],
    ),
    "one of another name": (
        lambda a: a.update({"step5000-fixed": a["step5000"]}), [("extra", ("step5000-fixed",))],
    ),
    "another configuration": (_put("step3000", _small("config.json", "config 2")), [("config", ("step3000",))]),
    "another tokenizer": (_put("step3000", _small("tokenizer.json", "tokenizer 2")), [("tokenizer", ("step3000",))]),
    "half precision": (
        _put("step3000", _large(FIRST, "x", 2_500_000), _large(SECOND, "y", 2_000_000)), [("dtype", ("step3000",))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_the_hub_tells_of_each_fault_and_of_nothing_else(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant, expected = PLANTED[name]
    answers = _answers()
    plant(answers)

    def tree(self: object, repo: str, *, revision: str, recursive: bool) -> list[RepoFile | RepoFolder]:
        return [RepoFile(**f) if f["type"] == "file" else RepoFolder(**f) for f in answers[revision]]

    def download(repo: str, name: str, *, revision: str) -> str:
        assert not name.endswith(".safetensors"), "weights stay where they are"
        oid = next(f["oid"] for f in answers[revision] if f["path"] == name)
        (tmp_path / oid).write_text(json.dumps(CONTENT[oid]))
        return str(tmp_path / oid)

    branches = [GitRefInfo(name=n, ref=f"refs/heads/{n}", target_commit="0") for n in ("main", *answers)]
    refs = lambda self, repo: GitRefs(branches=branches, converts=[], tags=[])  # noqa: E731
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_tree", tree)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_refs", refs)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert [(f.kind, f.revisions) for f in cheap_faults(HubSeries("org/m"))] == expected


# ---- what a person sees


def _trained(folder: Path, count: int) -> Path:
    """A series whose weights move on from step to step."""
    write_checkpoint(folder / "step0")
    weights = {n: t.clone() for n, t in read_weights(folder / "step0").items()}
    drift = {n: 0.02 * torch.randn(t.shape, generator=torch.Generator().manual_seed(0)) for n, t in weights.items()}
    for step in range(1, count):
        shutil.copytree(folder / "step0", folder / f"step{step}")
        moved = {n: t + step * drift[n] for n, t in weights.items()}
        write_weights(folder / f"step{step}/model.safetensors", moved, {"format": "pt"})
    return folder


def test_what_can_t_be_read_is_a_fault_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    folder = _trained(tmp_path / "s", 8)
    cut = folder / "step3/model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-400])  # the size tells nothing
    (folder / "step5/config.json").unlink()
    with pytest.raises(FaultsFound, match="2 faults in 8 checkpoints") as told:
        _audit(folder, tmp_path / "runs")
    assert "broken: step3: it can't be read: " in str(told.value)
    assert "missing: step5: it has no config.json, which the others have" in str(told.value)
    assert load_runs(tmp_path / "runs").table("tensors")["interval"].unique().tolist() == [0, 1, 2, 4, 6, 7]
    cut.write_bytes(cut.read_bytes()[:3000])
    with pytest.raises(FaultsFound, match=r"broken: step3: its weights take 3,000 bytes, .* is it whole\?"):
        _audit(folder, tmp_path / "runs", "weights=false")


def test_faults_are_an_exit_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = _trained(tmp_path / "s", 2)
    shutil.copytree(folder / "step1", folder / "step2")
    line = [
        "trajlab", "task=audit", "series=hf_folders", "name=audit", "model.name=tiny", f"runs_dir={tmp_path / 'runs'}",
        f"model.series.pattern='{folder}/step{{step}}'", "model.series.tokens_per_step=1000",
    ]  # fmt: skip
    for steps, code in (("[0,1]", None), ("[0,1,2]", "1 fault in 3 checkpoints:\n  - same_weights: step1, step2")):
        monkeypatch.setattr(sys, "argv", [*line, f"model.series.steps={steps}"])
        GlobalHydra.instance().clear()
        if code is None:
            run_line(sys.argv)
        else:
            with pytest.raises(SystemExit) as e:
                run_line(sys.argv)
            assert code in str(e.value.code), "a text as exit code is status 1"


def test_an_evaluation_warns_of_what_costs_nothing_to_see(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(6):
        (tmp_path / f"step{step}").mkdir()
        (tmp_path / f"step{step}/config.json").write_text(json.dumps({"layers": 2 + (step == 4)}))
        (tmp_path / f"step{step}/model.safetensors").write_bytes(bytes([step]) * 1000)
    evaluation._warn_of_faults(FolderSeries(f"{tmp_path}/step{{step}}", 1))
    said = capfd.readouterr().err
    assert said.splitlines() == [
        "warning: config: step4: config.json differs from that of the others [task=audit looks closer]"
    ]
    called: list[object] = []
    monkeypatch.setattr(evaluation, "_warn_of_faults", called.append)
    monkeypatch.setattr(evaluation.EvaluationText, "of", _stop)
    for step in range(6):
        write_checkpoint(tmp_path / f"step{step}", seed=step) if step < 2 else shutil.rmtree(tmp_path / f"step{step}")
    with pytest.raises(KeyboardInterrupt):
        run_here(
            "task=evaluate", "series=hf_folders", "name=e", "model.name=tiny", f"runs_dir={tmp_path / 'runs'}",
            f"model.series.pattern='{tmp_path}/step{{step}}'", "model.series.tokens_per_step=1", "data.source=embedded",
        )  # fmt: skip
    assert len(called) == 1, "by itself, before a checkpoint is brought"


def _stop(*_: object) -> None:
    raise KeyboardInterrupt
