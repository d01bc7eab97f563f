"""What a person at the terminal is told."""

import os
import sys


def first_process() -> bool:
    """Whether this is the first of the processes that do the same command together."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def say(text: str) -> None:
    """Tell the person at the terminal; the first process alone."""
    if first_process():
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A length of time for people."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
