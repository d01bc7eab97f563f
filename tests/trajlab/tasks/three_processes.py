"""Three processes on one folder, for `test_side_by_side`: imported once, forked before anything is computed.

    python -m tests.trajlab.tasks.three_processes JOURNAL VICTIM OVERRIDE...

Each row of table `checkpoints` is noted in the journal. With VICTIM=1 the second process kills itself as soon as it has
written the losses of its first checkpoint; the others go no further than theirs before that.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import run_here
from trajlab.store.run_store import RunStore
from trajlab.tasks import evaluate  # noqa: F401 before the fork, since it takes seconds

WAIT_SECONDS = 240


def main(journal: Path, victim: bool, overrides: list[str]) -> None:
    """Fork three, and print the status that each ended with."""
    children = [_forked(journal, victim and i == 1, victim, overrides) for i in range(3)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print("ended with", *codes)


def _forked(journal: Path, dies: bool, somebody_dies: bool, overrides: list[str]) -> int:
    if child := os.fork():
        return child
    code = 1
    try:
        RunStore.write = _noted(RunStore.write, journal, dies, somebody_dies)  # type: ignore[method-assign]
        run_here(*overrides)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _noted(write: Callable[..., None], journal: Path, dies: bool, somebody_dies: bool) -> Callable[..., None]:
    died = journal.with_suffix(".died")

    def noted(self: RunStore, table: str, interval: Any, rows: Any, suffix: str = "") -> None:
        if table == "checkpoints" and dies:
            died.write_text(rows["revision"][0].as_py())
            os.kill(os.getpid(), signal.SIGKILL)
        if table == "checkpoints":
            until = time.monotonic() + WAIT_SECONDS
            while somebody_dies and not died.exists() and time.monotonic() < until:
                time.sleep(0.02)
            with journal.open("a") as f:
                f.write(f"{os.getpid()} {rows['revision'][0].as_py()}\n")
        write(self, table, interval, rows, suffix)

    return noted


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "1", sys.argv[3:])
