"""What a person at the terminal is told."""

import os
import sys


def say(text: str) -> None:
    """Tell the person at the terminal; the first process alone."""
    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0:
        print(text, file=sys.stderr, flush=True)
