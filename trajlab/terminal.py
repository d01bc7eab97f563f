"""What a person at the terminal is told."""

import os
import shlex
import shutil
import sys
from pathlib import Path

YELLOW = "33"
"""What a warning is written in, on a terminal that shows colours."""


def first_process() -> bool:
    """Whether this is the first of the processes that do the same command together."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def say(text: str) -> None:
    """Tell the person at the terminal; the first process alone."""
    if first_process():
        print(painted(text) if text.startswith(("warning:", "! ")) else text, file=sys.stderr, flush=True)


def painted(text: str, colour: str = YELLOW) -> str:
    """The text in a colour, where standard error is a terminal and nobody asked for none (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty():
        return text
    return f"\033[{colour}m{text}\033[0m"


def fitted(line: str) -> str:
    """The line cut to the terminal's width: one that wraps can't be written over, and leaves its first part standing."""
    width = shutil.get_terminal_size().columns - 1  # the last column makes some terminals begin a new line
    return line if len(line) <= width else f"{line[: max(width - 1, 0)]}…"


def to_see(runs: Path) -> str:
    """What to do next with runs that are stored: the command of their report."""
    return f"to see it: python -m trajlab report {shlex.quote(str(runs))}"


def duration(seconds: float) -> str:
    """A length of time for people."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
