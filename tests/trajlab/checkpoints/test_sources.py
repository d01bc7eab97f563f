"""Series list, bring and give back their checkpoints; what can go wrong on the way is said clearly."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from tests.conftest import ROOT
from tests.series_material import write_checkpoint, write_series
from trajlab.checkpoints.sources import Checkpoint, FolderSeries, HubSeries, InOrder, expanded_steps, prefetched
from trajlab.errors import UserError


def test_steps_as_lists_and_spans() -> None:
    assert expanded_steps([0, 1, 512, "1000..3000:1000"]) == [0, 1, 512, 1000, 2000, 3000]
    pythia = expanded_steps([0, *(2**i for i in range(10)), "1000..143000:1000"])
    assert len(pythia) == 154
    for wrong, said in (([5, 3], "increase"), (["x"], "is no step"), ([], "increase"), ([1, 1], "increase")):
        with pytest.raises(UserError, match=said):
            expanded_steps(wrong)


def test_names_with_two_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    branches = ["main", "step1000-tokens4B", "step0-tokens0B", "step2000-tokens9B", "step3000-unsharded"]
    refs = SimpleNamespace(branches=[SimpleNamespace(name=n) for n in branches], tags=[])
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_refs", lambda self, repo: refs)
    found = HubSeries("org/m", "step{step}-tokens*", 4_000_000).checkpoints()
    assert [(c.step, c.revision) for c in found] == [
        (0, "step0-tokens0B"), (1000, "step1000-tokens4B"), (2000, "step2000-tokens9B")
    ]  # fmt: skip
    chosen = HubSeries("org/m", "step{step}-tokens*", 4_000_000, steps=[1000]).checkpoints()
    assert [c.revision for c in chosen] == ["step1000-tokens4B"], "the rest of the name is looked up"
    with pytest.raises(UserError, match=r"no \* beside it"):
        HubSeries("org/m", "step{step}*")


# ---- folders


def _folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text("{}")
    return root


def test_folders_by_step_and_by_tokens(tmp_path: Path) -> None:
    root = _folders(tmp_path, "step10", "step2", "step0", "stepx", "other")
    found = FolderSeries(f"{root}/step{{step}}", 100).checkpoints()
    assert [(c.index, c.step, c.tokens, c.revision) for c in found] == [
        (0, 0, 0, "step0"), (1, 2, 200, "step2"), (2, 10, 1000, "step10")
    ]  # fmt: skip
    _folders(tmp_path / "opt", "run/500/hf", "run/1000/hf")
    by_tokens = FolderSeries(f"{tmp_path}/opt/run/{{tokens}}/hf", 100).checkpoints()
    assert [(c.step, c.tokens, c.revision) for c in by_tokens] == [(5, 500, "500/hf"), (10, 1000, "1000/hf")]


def test_a_missing_folder_names_its_neighbours(tmp_path: Path) -> None:
    root = _folders(tmp_path, "step0", "step10", "step20")
    with pytest.raises(UserError, match=r"no checkpoint 'step11'; the nearest are step0, step10, step20; .*steps"):
        FolderSeries(f"{root}/step{{step}}", 1, steps=[0, 11]).checkpoints()
    for pattern, said in (
        (f"{root}/nothing{{step}}", "nothing that looks like"),
        (f"{root}/absent/{{step}}", "there is no folder"),
        (f"{root}/step", "must hold"),
        (f"{root}/{{step}}-{{tokens}}", "must hold"),
    ):
        with pytest.raises(UserError, match=said):
            FolderSeries(pattern, 1).checkpoints()


# ---- the hub, played by functions that answer as it does


def _response_error(kind: type[Exception], message: str) -> Exception:
    """An error of the hub without a response to build it from."""
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A hub that serves one small checkpoint under some revisions and counts what is asked of it."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    stored = write_checkpoint(tmp_path / "stored")
    state = SimpleNamespace(revisions=["main", "step0", "step1", "step512"], asked=[], fails=None, stored=stored)

    def snapshot_download(repo: str, *, revision: str, local_files_only: bool = False, **options: Any) -> str:
        if local_files_only:
            raise errors.LocalEntryNotFoundError("not in the cache")
        state.asked.append((revision, tuple(options["allow_patterns"])))
        if state.fails:
            raise state.fails
        if revision not in state.revisions:
            raise _response_error(errors.RevisionNotFoundError, "404")
        to = Path(options["local_dir"] or tmp_path / "hub" / revision)
        shutil.copytree(stored, to, dirs_exist_ok=True)
        return str(to)

    refs = lambda self, repo: SimpleNamespace(  # noqa: E731
        branches=[SimpleNamespace(name=n) for n in state.revisions], tags=[]
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_refs", refs)
    return state


def test_revisions_are_listed_by_their_pattern(hub: SimpleNamespace) -> None:
    found = HubSeries("org/m", tokens_per_step=2_097_152).checkpoints()
    assert [(c.revision, c.tokens) for c in found] == [("step0", 0), ("step1", 2_097_152), ("step512", 1_073_741_824)]


def test_safetensors_alone_is_fetched_and_no_code(hub: SimpleNamespace) -> None:
    series = HubSeries("org/m", steps=[1])
    series.fetch(series.checkpoints()[0])
    [(revision, patterns)] = hub.asked
    assert revision == "step1"
    assert "*.safetensors" in patterns
    assert not {"*.py", "pytorch_model*.bin", "*.bin"} & set(patterns)


def test_evicting_keeps_two_on_the_disk_at_most(hub: SimpleNamespace, tmp_path: Path) -> None:
    hub.revisions = [f"step{i}" for i in range(6)]
    series = HubSeries("org/m", cache="evict", cache_dir=str(tmp_path / "cache"))
    most = 0
    for _, folder in prefetched(series, InOrder(series.checkpoints())):
        assert (folder / "model.safetensors").is_file()
        most = max(most, len(list((tmp_path / "cache").rglob("model.safetensors"))))
    assert most <= 2
    assert not list((tmp_path / "cache").rglob("model.safetensors"))


def test_two_evaluations_of_a_repository_leave_each_other_s_checkpoints(hub: SimpleNamespace, tmp_path: Path) -> None:
    series = HubSeries("org/m", cache="evict", cache_dir=str(tmp_path))
    first = series.checkpoints()[0]
    other = series.fetch(first)
    theirs = other.with_name(f".{first.revision}.{os.getppid()}.part")  # as of another process, which is alive
    shutil.copytree(other, theirs)
    series.release(first)
    assert not other.exists()
    assert (theirs / "model.safetensors").is_file()


def test_a_download_that_was_killed_is_gone_on_with(hub: SimpleNamespace, tmp_path: Path) -> None:
    series = HubSeries("org/m", cache="evict", cache_dir=str(tmp_path))
    first = series.checkpoints()[0]
    dead = tmp_path / "checkpoints" / "org--m" / f".{first.revision}.{2**22 + 1}.part"
    dead.mkdir(parents=True)
    (dead / "half").write_text("the first gigabytes")
    assert (series.fetch(first) / "half").is_file()
    series.release(first)
    assert not list(dead.parent.iterdir())


@pytest.mark.parametrize("averagers", ["none", "lawa"])
def test_three_workers_evict_what_is_their_own_and_what_a_killed_one_left(averagers: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.trajlab.checkpoints.three_evicting", str(tmp_path), averagers]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "-9", "0"], done.stderr
    assert len(list((tmp_path / "done").iterdir())) == 15
    held = [int(p.read_text()) for p in tmp_path.glob("most*")]
    assert max(held) <= 6, "two for each process"
    assert not list((tmp_path / "cache").rglob("model.safetensors")), "what the killed one had is gone as well"


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (_response_error(errors.RepositoryNotFoundError, "401"), "shows no repository org/m"),
        (errors.LocalEntryNotFoundError("no connection"), r"can't be fetched .*the same command goes on"),
        (ConnectionError("Name or service not known"), "can't be fetched .*FolderSeries"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; .*cache=evict.*goes on"),
        (_response_error(errors.HfHubHTTPError, "503"), "can't be fetched"),
    ],
)
def test_the_hubs_failures(hub: SimpleNamespace, fails: Exception, said: str) -> None:
    hub.fails = fails
    series = HubSeries("org/m", steps=[0])
    with pytest.raises(UserError, match=said):
        series.fetch(series.checkpoints()[0])


def test_a_missing_revision(hub: SimpleNamespace) -> None:
    series = HubSeries("org/m", steps=[0, 3])
    with pytest.raises(UserError, match=r"org/m has no revision 'step3'; change model\.series\.steps"):
        series.fetch(series.checkpoints()[1])


def test_without_network_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    series = HubSeries("org/m", steps=[0])
    with pytest.raises(UserError, match=r"org/m@step0 can't be fetched .*isn't in the local cache"):
        series.fetch(series.checkpoints()[0])


# ---- prefetching


class Recorded:
    """A series that notes what is asked of it."""

    name = "recorded"

    def __init__(self, on_fetch: Callable[[Checkpoint], None] = lambda c: None) -> None:
        self.log: list[str] = []
        self.on_fetch = on_fetch
        self.fetched = {i: threading.Event() for i in range(4)}

    def checkpoints(self) -> list[Checkpoint]:
        return [Checkpoint(i, i, i, f"step{i}") for i in range(4)]

    def fetch(self, checkpoint: Checkpoint) -> Path:
        self.on_fetch(checkpoint)
        self.log.append(f"fetch {checkpoint.index}")
        self.fetched[checkpoint.index].set()
        return Path(checkpoint.revision)

    def release(self, checkpoint: Checkpoint) -> None:
        self.log.append(f"release {checkpoint.index}")


def test_the_next_one_comes_while_the_present_one_is_used() -> None:
    series = Recorded()
    for wanted, folder in prefetched(series, InOrder(series.checkpoints())):
        checkpoint = wanted.checkpoint
        assert folder.name == checkpoint.revision
        if checkpoint.index < 3:
            assert series.fetched[checkpoint.index + 1].wait(10)
            assert not any(e.is_set() for i, e in series.fetched.items() if i > checkpoint.index + 1)
    assert series.log[-1] == "release 3"
    assert [x for x in series.log if "release" in x] == [f"release {i}" for i in range(4)]


def test_a_failure_waits_for_its_turn() -> None:
    def broken(checkpoint: Checkpoint) -> None:
        if checkpoint.index == 2:
            raise UserError("gone")

    series = Recorded(broken)
    coming = prefetched(series, InOrder(series.checkpoints()))
    assert [next(coming)[0].checkpoint.index, next(coming)[0].checkpoint.index] == [0, 1]
    with pytest.raises(UserError, match="gone"):
        next(coming)


def test_a_local_series_is_never_removed(tmp_path: Path) -> None:
    series = FolderSeries(f"{write_series(tmp_path, [0, 1])}/step{{step}}", 10, cache="evict")
    assert len(list(prefetched(series, InOrder(series.checkpoints())))) == 2
    assert (tmp_path / "step0" / "model.safetensors").is_file()
