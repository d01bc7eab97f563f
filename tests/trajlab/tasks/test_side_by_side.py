"""Processes on one folder measure each checkpoint once, together what one alone would."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_here
from tests.series_material import write_series
from tests.trajlab.tasks.test_evaluate import _overrides, _stripped
from trajlab.analysis.load import load_runs
from trajlab.averaging import Averager, ema, lawa
from trajlab.averaging.over_series import needed
from trajlab.checkpoints.sources import Checkpoint
from trajlab.errors import UserError
from trajlab.measures.claims import Claims
from trajlab.store import lease
from trajlab.store.run_store import RunStore
from trajlab.store.workers import Workers

STEPS = list(range(15))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("series"), STEPS)


def _three(journal: Path, victim: str, *overrides: str) -> list[int]:
    command = [sys.executable, "-m", "tests.trajlab.tasks.three_processes", str(journal), victim, *overrides]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return [int(code) for code in done.stdout.split("ended with")[1].split()]


def test_three_processes_and_one_of_them_killed(series: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    assert _three(journal, "1", *_overrides(series, tmp_path / "three")) == [0, -9, 0]
    counts = Counter(line.split()[1] for line in journal.read_text().splitlines())
    assert counts == {f"step{s}": 1 for s in STEPS}
    assert journal.with_suffix(".died").read_text() in counts, "somebody took over what the killed one had begun"
    assert len({line.split()[0] for line in journal.read_text().splitlines()}) == 2
    run_here(*_overrides(series, tmp_path / "one"))
    three, one = load_runs(tmp_path / "three"), load_runs(tmp_path / "one")
    assert _stripped(three) == _stripped(one)
    [a], [b] = three.manifests, one.manifests
    assert {k for k in a if a[k] != b[k]} <= {"started", "finished", "folder", "config"}
    assert a["status"] == "finished"
    left = sorted(p.name for p in (tmp_path / "three/series/tiny").iterdir())
    assert left == [".lock", "config.yaml", "manifest.json", "metrics"]


# ---- who takes what


def _checkpoints(n: int) -> list[Checkpoint]:
    return [Checkpoint(i, i, i, f"step{i}") for i in range(n)]


class Side:
    """A process of several, played by this one."""

    def __init__(self, run: Path, done: set[int], n: int, averagers: list[Averager]) -> None:
        self.workers, self.done = Workers(run), done
        self.workers.enter()
        self.claims = Claims(self.workers, _checkpoints(n), range(n), lambda c: c.index in done, averagers)
        self.held: list[int] = []
        self.measured: list[int] = []

    def step(self, averagers: list[Averager], n: int) -> bool:
        """Read one checkpoint, as `prefetched` and the visit do; False where there is none now."""
        wanted = self.claims.take(wait=False)
        if wanted is None:
            return False
        self.held = [wanted.checkpoint.index] if wanted.afresh else [*self.held, wanted.checkpoint.index]
        if wanted.measured:
            index = wanted.checkpoint.index
            whole = needed(_checkpoints(n), set(range(n)) - {index}, averagers)
            assert self.held[-len(whole) :] == [c.index for c in whole], "the averages hold what they are made of"
            assert index not in self.done
            self.done.add(index)
            self.measured.append(index)
            self.claims.ended(wanted.checkpoint)
        return True


@pytest.mark.parametrize(
    "averagers", [[], [lawa(3, every_steps=1, start=0)], [ema(0.5, start=0)]], ids=["none", "lawa", "ema"]
)
def test_averages_get_contiguous_shares(tmp_path: Path, averagers: list[Averager]) -> None:
    done: set[int] = set()
    sides = [Side(tmp_path, done, 30, averagers) for _ in range(3)]
    moved = True
    while moved:
        steps = [side.step(averagers, 30) for side in sides]  # all of them, in turn
        moved = any(steps)
    rest = set(range(30)) - done
    assert len(rest) <= 2, "the last ones are left to whoever has nothing to do"
    if averagers:
        jumps = sum(b != a + 1 for s in sides for a, b in zip(s.measured, s.measured[1:], strict=False))
        assert jumps <= 6, [s.measured for s in sides]
    assert min(len(s.measured) for s in sides) >= 4


def test_one_alone_goes_in_order_and_looks_ahead(tmp_path: Path) -> None:
    side = Side(tmp_path, set(), 6, [])
    while side.step([], 6):
        pass
    assert side.measured == list(range(6))


# ---- who is let in


@pytest.fixture
def beside(tmp_path: Path) -> Workers:
    """Another process that is evaluating the series of `_overrides`."""
    workers = Workers(tmp_path / "runs/series/tiny")
    workers.enter()
    return workers


@pytest.mark.parametrize("override", ["overwrite=true"])
def test_a_series_that_others_are_at_is_not_replaced(
    series: Path, tmp_path: Path, beside: Workers, override: str
) -> None:
    with pytest.raises(UserError, match=f"process {os.getpid()} on .* evaluates this series; wait for its end"):
        run_here(*_overrides(series, tmp_path / "runs"), override)


def test_other_tasks_keep_off(tmp_path: Path, beside: Workers) -> None:
    store = RunStore(tmp_path / "runs/series/tiny", "series", "tiny", None)
    with pytest.raises(UserError, match="evaluates this series; wait"), store.lock():
        pass
    with store.lock(wait=1.0):
        pass


def test_other_numbers_wait_until_the_others_are_done(series: Path, tmp_path: Path, beside: Workers) -> None:
    beside.agree({(0, "step0"): 0, (4, "step4"): 1, (6, "step6"): 2}, ["losses:valid"], alone=True)
    with pytest.raises(UserError, match="lie between its own; start this again after its end"):
        run_here(*_overrides(series, tmp_path / "runs"), "model.series.steps=[0,2,4]")
    found = run_later(series, tmp_path, "model.series.steps=[4,8]")
    assert found == [1, 3], "the others' numbers are kept"


def run_later(series: Path, tmp_path: Path, *more: str) -> list[int]:
    run_here(*_overrides(series, tmp_path / "runs"), *more)
    return load_runs(tmp_path / "runs").intervals["interval"].tolist()


def test_another_configuration_is_refused_before_anything_is_stored(
    series: Path, tmp_path: Path, beside: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, other = RunStore.begin, "evaluation.stride=8"

    def beaten(self: RunStore, *args: object, **kwargs: object) -> str:
        status = begin(self, *args, **kwargs)  # type: ignore[arg-type]
        monkeypatch.setattr(RunStore, "begin", begin)
        stored = tmp_path / "stored"
        run_here(*_overrides(series, stored), "model.series.steps=[0]")
        manifest = json.loads((stored / "series/tiny/manifest.json").read_text())
        self.update_manifest(**{**manifest, "status": "running"})  # the other process has got there first
        return status

    monkeypatch.setattr(RunStore, "begin", beaten)
    with pytest.raises(UserError, match=r"evaluation\.stride: 16 there, 8 asked for"):
        run_here(*_overrides(series, tmp_path / "runs"), other)
    assert not (tmp_path / "runs/series/tiny/metrics").exists()


def test_a_checkpoint_that_was_taken_over_is_left(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    confirm, lost = Workers.confirm, []

    def late(self: Workers, step: int, revision: str) -> None:
        if revision == "step1" and not lost:
            lost.append(revision)
            raise lease.LostLease("another one has taken over")
        confirm(self, step, revision)

    monkeypatch.setattr(Workers, "confirm", late)
    run_here(*_overrides(series, tmp_path / "runs"), "model.series.steps=[0,1,2]")
    assert "step1 is left to another process" in capfd.readouterr().err
    runs = load_runs(tmp_path / "runs")
    assert runs.intervals["interval"].tolist() == [0, 1, 2], "nobody had it after all, so it was taken again"
    assert runs.manifests[0]["status"] == "finished"
