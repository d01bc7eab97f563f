"""How many of the machine's cores are free to this process, and how its threads wait for each other."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


SPINS = "3000"
"""How often a thread of GNU OpenMP looks again before it sleeps; 300,000 where nobody sets it. Chosen from 0, 1,000, 3,000 and
10,000 on a two-core machine (docs/benchmarks.md): the most that leaves a training step its speed beside other work."""


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep soon at a barrier instead of spinning on, unless the user has said how they wait.

    A spinning thread takes a core from whoever it waits for as soon as the machine has other work to do; one that sleeps at
    once costs a seventh of the speed where it has none. This has an effect only before torch is imported.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def usable_cores() -> int:
    """Cores that this process may use: of its affinity, under its control group's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota(CGROUP)))


def free_cores() -> int:
    """Cores that this process may use and that nobody else is using now, by the last minute's load; at least one."""
    try:
        idle = (os.cpu_count() or 1) - os.getloadavg()[0]
    except OSError:
        return usable_cores()
    return max(1, min(usable_cores(), math.floor(idle + 0.5)))


def _quota(root: Path) -> int:
    """Whole cores of the control group's quota (version 2, else 1); as many as one likes where there is none."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((root / "cpu" / f"cpu.cfs_{k}_us").read_text().strip() for k in ("quota", "period"))
        except OSError:
            return os.cpu_count() or 1
    limited = quota.isdigit() and period.isdigit() and int(period) > 0
    return max(1, int(quota) // int(period)) if limited else os.cpu_count() or 1
