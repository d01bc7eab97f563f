"""``task=audit`` on folders, on a run's snapshots and on what a hub answers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from tests.conftest import run_here
from tests.series_material import write_series
from trajlab.analysis.load import load_runs
from trajlab.checkpoints.sources import HubSeries
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


def test_a_hub_is_asked_for_hashes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [0, *range(1000, 7000, 1000)]

    def tree(self: object, repo: str, *, revision: str, recursive: bool) -> list[SimpleNamespace]:
        content = "step6000" if revision == "step0" else revision  # step 0 serves the last weights
        large = SimpleNamespace(sha256=f"hash of {content}")
        return [
            SimpleNamespace(path="model.safetensors", size=9_000_000, blob_id="x", lfs=large),
            SimpleNamespace(path="config.json", size=9, blob_id="c", lfs=None),
            SimpleNamespace(path="folder"),
        ]

    refs = lambda self, repo: SimpleNamespace(  # noqa: E731
        branches=[SimpleNamespace(name=n) for n in ["main", *(f"step{s}" for s in steps)]], tags=[]
    )
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_tree", tree)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_refs", refs)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: __file__)
    [fault] = cheap_faults(HubSeries("org/m"))
    assert (fault.kind, fault.revisions) == ("same_weights", ("step0", "step6000"))
