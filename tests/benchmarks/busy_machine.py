"""Training beside another process, by how threads wait: ``python -m tests.benchmarks.busy_machine``.

Each way (the user's own environment says nothing, so OpenMP spins; soon asleep, as ``python -m trajlab`` sets it; sooner; at
once; one thread) is measured alone and beside one process that keeps a core busy, in short rounds by turns. The median of the rounds counts.
"""

import argparse
import os
import statistics
import subprocess
import sys

from tests.conftest import ROOT
from trajlab.cores import SPINS

BUSY = "while True: pass"
WAYS: dict[str, dict[str, str]] = {
    "spinning": {},
    f"soon asleep (GOMP_SPINCOUNT={SPINS})": {"GOMP_SPINCOUNT": SPINS},
    "sooner (GOMP_SPINCOUNT=1000)": {"GOMP_SPINCOUNT": "1000"},
    "at once (OMP_WAIT_POLICY=PASSIVE)": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
THREADS = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def tokens_per_second(way: dict[str, str], seconds: float) -> float:
    """Of the full-size model, eager, in a process of its own."""
    code = (
        "from tests.benchmarks.training_speed import TOKENS, trajlab_speed\n"
        f"print(trajlab_speed({seconds}, False, 4) * TOKENS)"
    )
    kept = {k: v for k, v in os.environ.items() if k not in THREADS}
    environment = {**kept, "PYTHONPATH": str(ROOT), **way}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    speeds: dict[tuple[str, bool], list[float]] = {}
    for _ in range(options.rounds):
        for busy in (False, True):
            other = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
            try:
                for name, way in WAYS.items():
                    speeds.setdefault((name, busy), []).append(tokens_per_second(way, options.seconds))
            finally:
                if other is not None:
                    other.kill()
                    other.wait()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end\n{'way':<34} {'alone':>7} {'beside one':>11}"
    )
    for name in WAYS:
        alone, beside = (statistics.median(speeds[name, busy]) for busy in (False, True))
        print(f"{name:<34} {alone:>7,.0f} {beside:>11,.0f}")


if __name__ == "__main__":
    main()
