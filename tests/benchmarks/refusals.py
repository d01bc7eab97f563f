"""How long a wrong configuration takes to be refused, each in a process of its own, as a user would meet it.

    python -m tests.benchmarks.refusals

Processor seconds and seconds on the clock; on a busy machine the former say more. ``torch`` tells whether it was imported.
"""

import os
import subprocess
import sys
import tempfile
import time

from tests.conftest import MICRO, ROOT
from tests.trajlab.tasks.test_refusals import REFUSED

COMMAND = """
import atexit, sys
atexit.register(lambda: print("torch" in sys.modules))
from trajlab.__main__ import main
main()
"""


def refusal(line: list[str], folder: str) -> tuple[float, float, bool]:
    """Processor seconds, seconds on the clock, whether torch was imported. Raises AssertionError where nothing is refused."""
    before, began = os.times(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *line], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    after = os.times()
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, time.monotonic() - began, done.stdout.endswith("True\n")


def main() -> None:
    """The command line."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (overrides, _) in REFUSED.items():
            base = [] if overrides[0].startswith("task=e") else MICRO
            found.append((*refusal([*base, *overrides], folder), name))
            print("{:6.2f} s of processor, {:6.2f} s, torch: {!s:5}  {}".format(*found[-1]), flush=True)
    for torch in (False, True):
        own = sorted(used for used, _, imported, _ in found if imported == torch)
        if own:
            print(
                f"torch imported: {torch}: {len(own)} refusals, processor median {own[len(own) // 2]:.1f} s, most {own[-1]:.1f} s"
            )
    print(f"most seconds on the clock: {max(clock for _, clock, _, _ in found):.1f}")


if __name__ == "__main__":
    main()
