"""Texts that were fetched once and are kept as JSON lines. Only whole lines count: a kill may have cut the last one."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from trajlab.files import writable


def whole_lines(kept: Path) -> Iterator[str]:
    """The texts of a file that need not be there."""
    if kept.exists():
        with kept.open("rb") as file:
            yield from (str(json.loads(line)["text"]) for line in file if line.endswith(b"\n"))


@contextmanager
def appending(kept: Path) -> Iterator[Callable[[str], object]]:
    """What adds a text; meanwhile no other process adds any. A half line at the end is taken away first.

    Raises UserError where the place can't be written or the disk is full.
    """
    with writable(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{kept}.lock"), kept.open("ab") as file:
            file.truncate(_bytes_of_whole_lines(kept))
            yield lambda text: file.write(json.dumps({"text": text}).encode() + b"\n")


def _bytes_of_whole_lines(kept: Path) -> int:
    with kept.open("rb") as file:
        return sum(len(line) for line in file if line.endswith(b"\n"))
