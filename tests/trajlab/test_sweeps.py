"""Several jobs at once: threads, the terminal, one that fails."""

import os
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.conf import ConfigSourceInfo
from hydra.core.hydra_config import HydraConfig

from tests.conftest import trajlab
from trajlab.help import choices_by_group, page
from trajlab.tasks import train
from trajlab.training.team import Team, job_arguments


@pytest.mark.parametrize(("launcher", "sharers"), [("joblib", "2"), ("submitit_local", "8"), ("basic", "1")])
def test_a_job_that_fails_leaves_the_others_and_the_exit_status_says_so(
    launcher: str, sharers: str, tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    done = trajlab(
        "name=x", f"runs_dir={tmp_path / 'runs'}", "task._target_=tests.trajlab.light_task.work", "seed=0..1", "-m",
        f"hydra/launcher={launcher}", *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []), check=False,
    )  # fmt: skip
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "[HYDRA]" not in said  # a line for each job and one of 200 characters, before anything begins
    assert "Error executing job" not in said
    assert said.startswith(f"x: 2 runs; how far they are: python -m trajlab status {tmp_path / 'runs'}\n")
    written = {p.name: p.read_text() for p in (tmp_path / "runs").iterdir() if p.is_file()}
    assert written == {"0": sharers}
    if launcher != "submitit_local":  # which keeps what its jobs say in files below the sweep's folder
        assert "job 1 (seed=1) failed: ValueError: seed 1 is no good" in done.stderr


@pytest.fixture
def in_a_job(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Act as a job of a sweep."""

    def begin(*overrides: str) -> None:
        with initialize_config_module("trajlab.conf", version_base="1.3"):
            config = compose("config", list(overrides), return_hydra_config=True)
        config.hydra.runtime.config_sources = [
            ConfigSourceInfo(path="/own", schema="file", provider="command-line"),
            ConfigSourceInfo(path="trajlab.conf", schema="pkg", provider="main"),
        ]
        monkeypatch.setattr(HydraConfig.instance(), "cfg", config)

    return begin


@pytest.mark.parametrize(
    ("launcher", "threads"),
    [(["hydra/launcher=joblib"], 1), (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 4),
     (["hydra/launcher=submitit_local"], 1), (["hydra/launcher=submitit_slurm"], 8), ([], 8)],
)  # fmt: skip
def test_jobs_side_by_side_share_the_cores(
    launcher: list[str], threads: int, in_a_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trajlab.store.run_store import RunStore

    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setattr(train, "usable_cores", lambda: 8)
    monkeypatch.setattr(train, "free_cores", lambda: 8)
    in_a_job("name=x", *launcher)
    assert train._threads(RunStore(Path(os.devnull), "e", "r", 0), Team()) == threads


def test_the_processes_of_a_job_do_that_job_alone(in_a_job: Any) -> None:
    in_a_job("name=x", "seed=3", "run_keys=[seed]", "hydra/launcher=joblib")
    assert job_arguments() == ["--config-dir", "/own", "name=x", "seed=3", "run_keys=[seed]"]


def test_help_names_every_choice() -> None:
    text, root = page(), Path(__file__).parents[2] / "conf"
    offered = choices_by_group(root)
    assert set(offered) == {p.name for p in root.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert all(choice in text for choices in offered.values() for choice in choices)
    assert "status" in text
