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
