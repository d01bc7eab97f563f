"""What a command costs before its work begins: ``python -m tests.benchmarks.start``.

User and system seconds of the processor beside the clock's, of each command in a process of its own, the lowest of
``--rounds``: on a busy machine the first two still mean something.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import MICRO, ROOT

ONE_STEP = ["intervals.budget_tokens=64", "intervals.every_tokens=64", "schedule.warmup_tokens=0"]


def commands(folder: Path, runs: Path | None) -> dict[str, tuple[list[str], float]]:
    """By name, the arguments of python and the seconds that are aimed at."""
    named = {
        "--help": (["-m", "trajlab", "--help"], 0.7),
        "a refusal (seed=abc)": (["-m", "trajlab", *MICRO, "seed=abc"], 0.7),
        "status": (["-m", "trajlab", "status", str(runs or ROOT / "conf")], 0.7),
        "import trajlab.analysis": (["-c", "import trajlab.analysis"], 1.0),
        "import torch": (["-c", "import torch"], float("nan")),
        "import lightning": (["-c", "import lightning"], float("nan")),
        "a run of one step": (["-m", "trajlab", *MICRO, *ONE_STEP, f"runs_dir={folder}", "overwrite=true"], 6.0),
    }
    if runs is not None:
        out = ["--out", str(folder / "report")]
        named["report"] = (["-m", "trajlab", "report", str(runs), *out], 8.0)
    return named


def measured(arguments: list[str]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    before, started = os.times(), time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *arguments], capture_output=True, env=environment, check=False)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, time.perf_counter() - started


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="finished runs, for the report's time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asked = commands(Path(folder), options.runs)
        measured(asked["a run of one step"][0])  # tokenises its text, which later runs find in the cache
        rounds = [{name: measured(line) for name, (line, _) in asked.items()} for _ in range(options.rounds)]
    print(f"{'command':<26} {'processor s':>11} {'clock s':>8} {'aim':>5}")
    for name, (_, aim) in asked.items():
        used, clock = (min(r[name][i] for r in rounds) for i in (0, 1))
        print(f"{name:<26} {used:>11.2f} {clock:>8.2f} {'' if aim != aim else aim:>5}")


if __name__ == "__main__":
    main()
