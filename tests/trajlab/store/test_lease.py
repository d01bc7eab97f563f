"""A lease has one owner; a crash, or silence, frees it; a late owner finds out."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from trajlab.store import lease as leases
from trajlab.store.lease import Lease, LostLease, Watch, holder

SECONDS = 60.0


class Clock:
    """Stands still unless it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _take(path: Path, clock: Clock | None = None, watch: Watch | None = None) -> Lease | None:
    return Lease.take(path, SECONDS, watch or Watch(clock or Clock()))


def _crash(lease: Lease) -> None:
    """What is left of a process that was killed: the file, without its lock."""
    os.close(lease._file)


def _elsewhere(path: Path, beat: int = 1) -> None:
    """The lease of a process on another machine, whose locks don't reach this one."""
    owner = {"machine": "another", "host": "node7", "process": 12, "token": "theirs", "seconds": SECONDS, "beat": beat}
    path.write_bytes(json.dumps(owner).encode().ljust(leases.LENGTH - 1) + b"\n")


def test_one_owner_on_one_machine(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.lease"
    first = _take(path)
    assert first is not None
    assert _take(path) is None
    assert holder(path, Watch()) == f"process {os.getpid()} on {first._owner['host']}"
    first.release()
    assert not path.exists()
    assert holder(path, Watch()) is None
    second = _take(path)
    assert second is not None
    second.release()


def test_a_crash_frees_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.lease"
    crashed = _take(path)
    assert crashed is not None
    _crash(crashed)
    assert holder(path, Watch()) is None
    second = _take(path)
    assert second is not None
    second.confirm()
    assert _take(path) is None


def test_a_killed_process_frees_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.lease"
    child = multiprocessing.get_context("fork").Process(target=_take_and_die, args=(path,))
    child.start()
    child.join()
    assert path.exists()
    found = _take(path)
    assert found is not None
    found.release()


def _take_and_die(path: Path) -> None:
    assert _take(path) is not None
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("written", [0.0, 4e9])
def test_only_silence_by_ones_own_clock_frees_it_on_another_machine(tmp_path: Path, written: float) -> None:
    path, clock = tmp_path / "a.lease", Clock()
    watch = Watch(clock)
    for beat in range(3):
        _elsewhere(path, beat)
        os.utime(path, (written, written))  # a clock that is decades behind, or ahead
        assert _take(path, watch=watch) is None
        clock.now += SECONDS - 1
        assert _take(path, watch=watch) is None, "a beat was heard since"
        assert holder(path, watch) == "process 12 on node7"
    clock.now += 2
    assert holder(path, watch) is None
    found = _take(path, watch=watch)
    assert found is not None
    found.confirm()


def test_a_late_owner_finds_out_and_disturbs_nobody(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.lease", Clock()
    late = _take(path)
    assert late is not None
    watch = Watch(clock)
    assert _take(path, watch=watch) is None
    clock.now += SECONDS + 1  # stopped: it holds the lock still, and is silent
    found = _take(path, watch=watch)
    assert found is not None
    late.beat()
    found.confirm()
    with pytest.raises(LostLease, match="taken over"):
        late.confirm()
    late.release()
    found.confirm()
    assert _take(path) is None, "the new owner has a lock of its own"


def test_two_that_saw_the_same_silence_dont_both_get_it(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.lease", Clock()
    _elsewhere(path)
    first, second = Watch(clock), Watch(clock)
    assert _take(path, watch=first) is None
    assert _take(path, watch=second) is None
    clock.now += SECONDS + 1
    seen = path.read_bytes()
    found = _take(path, watch=first)
    assert found is not None
    assert not leases._removed(path, seen), "what the second would take away is another's lease"
    found.confirm()
    assert _take(path, watch=second) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.lease"]


def test_a_file_that_is_not_yet_written_has_an_owner(tmp_path: Path) -> None:
    path = tmp_path / "a.lease"
    path.touch()
    assert _take(path) is None
    assert holder(path, Watch(Clock())) is not None
