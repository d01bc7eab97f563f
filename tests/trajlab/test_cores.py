"""How many cores are free, and how threads wait."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from trajlab import cores
from trajlab.store.run_store import RunStore
from trajlab.tasks import train
from trajlab.training.team import Team

Micro = Callable[..., Path]


@pytest.mark.parametrize(
    ("files", "cores_there"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "300000 100000\n"}, 3),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
)
def test_a_quota_and_an_affinity_limit_the_cores(
    files: dict[str, str], cores_there: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cores.usable_cores() == cores_there
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cores.usable_cores() == 1


@pytest.mark.parametrize(("load", "free"), [(0.1, 4), (0.6, 3), (2.0, 2), (9.0, 1)])
def test_what_others_use_is_not_free(load: float, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert cores.free_cores() == free


def _policy_of_the_command(**environment: str) -> str:
    code = "import sys, os; sys.argv = ['trajlab', 'seed=1..0']; from trajlab.__main__ import main\ntry: main()\nexcept SystemExit: print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={**kept, **environment}, check=True
    )
    return done.stdout.strip()


def test_threads_sleep_unless_the_user_says_how_they_wait() -> None:
    assert _policy_of_the_command() == f"None {cores.SPINS} False"
    assert _policy_of_the_command(OMP_WAIT_POLICY="ACTIVE") == "ACTIVE None False"
    assert _policy_of_the_command(GOMP_SPINCOUNT="7") == "None 7 False"


def test_a_resumed_run_keeps_its_threads_where_the_machine_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "usable_cores", lambda: 4)
    monkeypatch.setattr(train, "free_cores", lambda: 2)
    store = RunStore(tmp_path, "e", "seed=0", 0)
    assert train._threads(store, Team()) == 2
    store.update_manifest(threads=3)
    assert train._threads(store, Team()) == 3
    store.update_manifest(threads=16)
    assert train._threads(store, Team()) == 2
    assert train._threads(store, Team(0, 2, 2)) == 2


def test_another_number_of_threads_or_devices_is_the_same_run(micro: Micro, capsys: pytest.CaptureFixture[str]) -> None:
    micro("intervals.budget_tokens=320", "trainer.threads=1")
    micro("intervals.budget_tokens=320", "trainer.threads=2", "trainer.strategy=ddp")
    assert "finished already" in capsys.readouterr().err
