"""Several processes that train one run, as ``torchrun`` would start them, without the seconds that each would import for.

A fork server imports once (it has no threads, so forking is safe) and every process is forked from it.
"""

import multiprocessing
import os
import socket
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import trajlab.callbacks.interval_telemetry
import trajlab.tasks.train  # noqa: F401 (what the fork server is to have imported)
from tests.conftest import MICRO, run_here
from trajlab import interruption

SECONDS = 240
"""A loaded machine may need long for a run of a second."""


def train_together(overrides: Sequence[str], log: Path, processes: int = 2) -> list[int | None]:
    """Do a micro run with several processes; their exit codes, in the order of the ranks.

    Each writes what it says to ``<log>.<rank>``.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    started: list[BaseProcess] = [
        context.Process(target=_member, args=([*MICRO, *overrides], rank, processes, port, log))
        for port in [_port()]
        for rank in range(processes)
    ]
    return _ended(started)


def _ended(started: list[BaseProcess]) -> list[int | None]:
    for process in started:
        process.start()
    for process in started:
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in started]


def _member(overrides: list[str], rank: int, processes: int, port: int, log: Path) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    with Path(f"{log}.{rank}").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        try:
            with interruption.installed():
                run_here(*overrides)
        except interruption.Interrupted as e:
            sys.exit(e.exit_code)


def _port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
