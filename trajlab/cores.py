"""How many of the machine's cores are free to this process, and how its threads wait for each other."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep at a barrier instead of spinning, unless the user has said how they wait.

    A spinning thread takes a core from whoever it waits for as soon as the machine has other work to do
    (docs/benchmarks.md). This has an effect only before torch is imported.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


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
