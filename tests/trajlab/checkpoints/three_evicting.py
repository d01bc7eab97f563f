"""Three processes that take the checkpoints of one repository with ``cache=evict``, for `test_sources`; the second is killed.

    python -m tests.trajlab.checkpoints.three_evicting FOLDER none|lawa

The hub is played: a revision is two small files. A checkpoint that is done leaves a file in FOLDER/done, which is made but
once. The second process kills itself right between that and giving its lease back; the others wait for it with a checkpoint
in their hands.
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
from huggingface_hub.errors import LocalEntryNotFoundError

from trajlab.averaging import lawa
from trajlab.checkpoints.sources import HubSeries, prefetched
from trajlab.measures.claims import Claims
from trajlab.store.workers import Workers

STEPS, WAIT_SECONDS, VICTIM = 15, 60, 1
AVERAGERS = {"none": [], "lawa": [lawa(3, every_steps=1, start=0)]}
WEIGHTS = "model.safetensors"


def snapshot_download(repo: str, *, revision: str, local_files_only: bool = False, **options: Any) -> str:
    """The files of a revision, in `local_dir`."""
    if local_files_only:
        raise LocalEntryNotFoundError("not in the cache")
    folder = Path(options["local_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", WEIGHTS):
        (folder / name).write_text(revision)
    return str(folder)


def work(number: int, folder: Path, averagers: str) -> None:
    """Take checkpoints until there is none, as an evaluation does."""
    cache, done, died = folder / "cache", folder / "done", folder / "died"
    series, workers = HubSeries("org/m", cache="evict", cache_dir=str(cache)), Workers(folder / "run")
    workers.enter()
    is_done = lambda c: (done / str(c.index)).exists()  # noqa: E731
    claims = Claims(workers, series.checkpoints(), range(STEPS), is_done, AVERAGERS[averagers])
    for wanted, place in prefetched(series, claims):
        until = time.monotonic() + WAIT_SECONDS
        while number != VICTIM and not died.exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert (place / WEIGHTS).read_text() == wanted.checkpoint.revision, "nobody removes what another one is reading"
        (folder / f"most{number}-{wanted.checkpoint.index}").write_text(
            str(sum(WEIGHTS in files for *_, files in os.walk(cache)))
        )
        if not wanted.measured:
            continue
        with (done / str(wanted.checkpoint.index)).open("x") as file:  # a second time would fail
            file.write(str(number))
        if number == VICTIM:
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        claims.ended(wanted.checkpoint)
    series.tidy()


def main(folder: Path, averagers: str) -> None:
    """Fork three, and print the status that each ended with."""
    (folder / "done").mkdir(parents=True)
    branches = [SimpleNamespace(name=f"step{i}") for i in range(STEPS)]
    huggingface_hub.snapshot_download = snapshot_download
    huggingface_hub.HfApi.list_repo_refs = lambda *_: SimpleNamespace(branches=branches, tags=[])
    children = []
    for number in range(3):
        if not (child := os.fork()):
            signal.alarm(2 * WAIT_SECONDS)
            try:
                work(number, folder, averagers)
            except BaseException as e:
                traceback.print_exception(e)
                os._exit(1)
            os._exit(0)
        children.append(child)
    print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
