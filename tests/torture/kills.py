"""Kill every task at random moments, give the same command again until it is done, and compare with an undisturbed one.

    python -m tests.torture.kills --rounds 40 --seed 0 --seconds 1200

Each round takes the next task (train, average, evaluate, export), starts it in a process, sends SIGKILL after a time that
is drawn from how long the undisturbed command took, and repeats that until a start is let through. At the end nothing may
differ from the undisturbed results but measured times, and no file may lie there that trajlab gave no name to.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tests.conftest import MICRO, ROOT
from trajlab.analysis.load import load_runs

TIMES = ["seconds_train", "seconds_eval", "seconds_load", "tokens_per_second", "seconds"]
KILLS = 3
"""Kills of one command before it is let through."""


@dataclass
class Task:
    """A command, given the folder that everything of a round lies in."""

    name: str
    line: list[str]
    seconds: float = 0.0
    """How long it takes undisturbed."""


def tasks(folder: Path) -> list[Task]:
    """In the order in which one needs the other."""
    runs = folder / "runs"
    run = runs / "tinystories_budget_small" / "seed=0"
    snapshot = run / "snapshots" / "tokens=000000001920.safetensors"
    evaluated = [
        "task=evaluate", "series=trajlab_run", "name=again", "model.name=mine", f"model.series.run='{run}'",
        "data.source=embedded", "evaluation.documents=2", "evaluation.context=16",
    ]  # fmt: skip
    return [
        Task("train", [*MICRO, "callbacks.checkpoint.every_steps=3", f"runs_dir={runs}"]),
        Task("average", ["task=average", f"runs='{run}'", "scheme=lawa", "k=2", "variant=offline"]),
        Task("evaluate", [*evaluated, f"runs_dir={runs}"]),
        Task("export", [*MICRO, "task=export", f"snapshot='{snapshot}'", f"to={folder / 'exported'}"]),
    ]


def run(task: Task, environment: dict[str, str], kill_after: float | None = None) -> bool:
    """Start the command; whether it came to its end. Raises AssertionError where it fails by itself."""
    command = [sys.executable, "-m", "trajlab", *task.line]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        _, said = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    assert process.returncode == 0, f"{' '.join(command)}\n{said.decode()}"
    return True


def compare(folder: Path, whole: Path) -> None:
    """Raise AssertionError where results differ or a file lies in one of them alone."""
    names = [sorted(_named(f)) for f in (folder, whole)]
    assert names[0] == names[1], f"files in one alone: {set(names[0]) ^ set(names[1])}"
    for name in names[0]:
        if name.endswith((".safetensors", ".json")) and not name.endswith(("manifest.json", "provenance.json")):
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = load_runs(folder), load_runs(whole)
    assert ours.tables.keys() == theirs.tables.keys()
    for table in ours.tables:
        left, right = (r.table(table).drop(columns=TIMES, errors="ignore") for r in (ours, theirs))
        pd.testing.assert_frame_equal(left, right, check_exact=True)


def _named(folder: Path) -> Iterator[str]:
    """Every file but the locks, which stay where a process was killed."""
    return (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def torture(root: Path, rounds: int, seed: int, seconds: float) -> dict[str, int]:
    """Kills by task, after as many rounds as fit into the time. Raises AssertionError at the first difference."""
    generator, environment = (
        random.Random(seed),
        {**os.environ, "PYTHONPATH": str(ROOT), "TRAJLAB_CACHE": str(root / "cache")},
    )
    whole, started = tasks(root / "whole"), time.monotonic()
    for task in whole:
        began = time.monotonic()
        run(task, environment)
        task.seconds = time.monotonic() - began
    kills = {task.name: 0 for task in whole}
    for number in range(rounds):
        if time.monotonic() - started > seconds:
            break
        folder, last = root / "cut", number % len(whole)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(root / "whole", folder) if last else None
        task, model = tasks(folder)[last], whole[last]
        _without_results(folder, task.name)
        for _ in range(KILLS):
            # most of a short command is its start, so later moments are drawn more often
            if run(task, environment, model.seconds * generator.triangular(0.2, 1.0, 0.9)):
                break
            kills[task.name] += 1
        run(task, environment)
        if task.name == "train":
            for following in tasks(folder)[1:]:
                run(following, environment)
        compare(folder, root / "whole")
    return kills


def _without_results(folder: Path, name: str) -> None:
    """What the task is to make, and what an earlier folder name is written into, is taken away."""
    run_folder = folder / "runs" / "tinystories_budget_small" / "seed=0"
    made = {
        "average": [run_folder / "averages"],
        "evaluate": [folder / "runs" / "again"],
        "export": [folder / "exported"],
    }
    for path in made.get(name, []):
        shutil.rmtree(path)
    if name == "average":
        for part in run_folder.glob("metrics/*/part-*.offline.parquet"):
            part.unlink()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills = torture(Path(folder), options.rounds, options.seed, options.seconds)
    print(f"seed {options.seed}: {sum(kills.values())} kills, {kills}; every result equal, no file left over")


if __name__ == "__main__":
    main()
