"""Let every write of every task fail once, and look at what is said, what is left, and how the same command goes on.

    python -m tests.torture.faults --work build/faults

A write is whatever changes the file system: a file opened for writing, flushed, renamed, removed, a folder made. At the
n-th of them, for each n, the command gets an error of the operating system (a full disk, a closed place, a broken disk, one
that can only be read; the flush of a file also after half of it is gone). Then files are limited in size, which writers in
C++ and Rust meet too. The command must end with one message that names a path and a remedy, and the same command must then
leave what an undisturbed one leaves.
"""

import argparse
import errno
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.torture.kills import Whole, start, undisturbed
from tests.torture.server import Ended, Fate, Server
from tests.torture.tasks import TASKS, Task
from tests.torture.tree import differences

FAULTS = (
    Fate(error=errno.ENOSPC),
    Fate(error=errno.EACCES),
    Fate(error=errno.ENOSPC, short=True),
    Fate(error=errno.EIO),
    Fate(error=errno.EROFS),
)
SIZES = (4096, 12_000, 40_000)
"""Bytes: what a file may hold; the smallest still takes a manifest, the largest all but the checkpoints."""
LINES = 3
"""Of a message; a report names the runs that it leaves out, a training run says what of it stands."""


def fates(writes: int, every: int = 1) -> Iterator[Fate]:
    """Each write in turn with a fault, the faults in turn too; then the limits of size."""
    for n in range(1, writes + 1, every):
        fault = FAULTS[n // every % len(FAULTS)]
        yield Fate(write=n, error=fault.error, short=fault.short)
    yield from (Fate(file_bytes=size) for size in SIZES)


def problems(server: Server, task: Task, fate: Fate, done: dict[str, Whole], folder: Path) -> list[str]:
    """What is wrong after a fault: of what the command said, and of what the same command left then."""
    shutil.rmtree(folder, ignore_errors=True)
    start(task, folder, done)
    ended = server.run(task.line, folder, fate, composed=True)
    found = _ill_said(ended) if ended.code else _incomplete(folder, done[task.name].folder)
    again = server.run(task.line, folder, composed=True)
    if again.code:
        found.append(f"the same command again ends with {again.code}: {again.err[-500:]}")
    else:
        found += differences(folder, done[task.name].folder)
    return [f"{task.name}, {fate}: {p}" for p in found]


def _incomplete(folder: Path, whole: Path) -> list[str]:
    """What is missing or wrong though the command ended well. What couldn't be removed may stay until the next start."""
    wrong = [d for d in differences(folder, whole) if not d.endswith("should not be")]
    return [f"ended with status 0, and yet {wrong[0]}"] if wrong else []


def _ill_said(ended: Ended) -> list[str]:
    if "Traceback" in ended.err or ended.code is None:
        return [f"a traceback: {ended.err[-1500:]}"]
    message = re.split(r"^(?:trajlab|analysis): ", ended.err, flags=re.MULTILINE)[-1]
    if len(message.splitlines()) > LINES:
        return [f"more than one message: {ended.err}"]
    named = any(place in message for place in ("/", "exported", "mixed.jsonl", "report"))
    return [] if named and ";" in message else [f"no path, or no remedy: {message}"]


def every_write(
    server: Server, work: Path, tasks: Sequence[Task] = TASKS, every: int = 1
) -> Iterator[tuple[str, list[str]]]:
    """Task and problems, a fault at a time."""
    work.mkdir(parents=True, exist_ok=True)
    done = undisturbed(server, work)
    for task in tasks:
        for fate in fates(done[task.name].writes, every):
            yield task.name, problems(server, task, fate, done, work / "faulty")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="of a task's writes only each n-th")
    parser.add_argument("--tasks", nargs="*", help="these alone")
    parser.add_argument("--work", type=Path, default=Path("build/faults"))
    options = parser.parse_args()
    chosen = [t for t in TASKS if t.name in (options.tasks or [t.name for t in TASKS if t.name != "report"])]
    began, count, bad = time.monotonic(), Counter[str](), Counter[str]()
    with Server() as server:
        for name, found in every_write(server, options.work.resolve(), chosen, options.every):
            count[name] += 1
            bad[name] += bool(found)
            for problem in found:
                print(problem, flush=True)
    for name in count:
        print(f"{name:<20}{count[name]:>6} faults, {bad[name]} badly met")
    print(f"{sum(count.values())} faults in {time.monotonic() - began:,.0f} s")
    raise SystemExit(sum(bad.values()) > 0)


if __name__ == "__main__":
    main()
