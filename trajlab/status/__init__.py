"""``python -m trajlab status FOLDER``: how far every run below a folder is, from what is stored and nothing else.

No run is asked, so it works while they train, after they were killed, and on another machine that sees the folder.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

from trajlab.status.reading import Facts, facts
from trajlab.status.sweep import sweep_lines
from trajlab.status.table import table
from trajlab.store import layout


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(
        prog="python -m trajlab status", description="State, place, speed, time left and forecast of every stored run."
    )
    made.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="a run, an experiment, or one above")
    made.add_argument(
        "--watch", type=float, nargs="?", const=5.0, metavar="SECONDS", help="show it again every so many seconds (5)"
    )
    return made


def main(arguments: list[str]) -> None:
    """The command."""
    options = parser().parse_args(arguments)
    if not options.folder.is_dir():
        sys.exit(f"trajlab: {options.folder} is no folder; name one that runs lie in, such as runs/tinystories_budget")
    if options.watch is not None and options.watch <= 0:
        sys.exit(f"trajlab: --watch {options.watch:g} must be above 0")
    while True:
        text = overview(options.folder, shutil.get_terminal_size().columns)
        if options.watch is None:
            return print(text)
        print(f"\x1b[H\x1b[J{text}" if sys.stdout.isatty() else f"{text}\n", flush=True)
        time.sleep(options.watch)


def overview(folder: Path, width: int) -> str:
    """A line for each run below ``folder`` and one for each sweep, none wider than ``width``."""
    runs: list[Facts] = [facts(f) for f in layout.run_folders(folder)]
    if not runs:
        return f"{folder}: no run is stored here"
    return "\n".join([*table(runs, width), *sweep_lines(folder, runs, width)])
