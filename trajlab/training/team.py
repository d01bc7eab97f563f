"""The processes that train one run together: which is the first, and what it tells the others.

The first process owns the run: its lock, its files, what is printed. It prepares the data and decides where the run
begins (`Start`); the others wait for its word and then compute as it does. Two launchers are known. ``torchrun`` starts
all processes at once: they join a process group before anything is decided and are told through it. Lightning's own
launcher (``trainer.devices=2``) starts the others when the first begins to train: they are told by an environment
variable.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed as dist

from trajlab.errors import UserError

TOLD = "TRAJLAB_START"
"""Set for the processes that Lightning's launcher starts: a `Start` as JSON."""
LAUNCHERS_WORDS = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS", TOLD)
"""Environment variables that Lightning's launcher and we set for the others; a sweep's next run begins without them."""
PATIENCE = timedelta(hours=24)
"""How long one process waits for another that is alive: the first may have much text to tokenise."""


@dataclass(frozen=True)
class Start:
    """Where a run begins."""

    data: str
    """Fingerprint of the data that the first process has."""
    checkpoint: str | None
    """The file that training resumes from; None: from the initial weights."""


class FirstProcessFailed(UserError):
    """The first process gave up and has said why."""


@dataclass
class Team:
    """This process among those that train a run."""

    rank: int = 0
    size: int = 1
    here: int = 1
    """Processes on this machine."""
    torchrun: bool = False
    """Whether all of them were started from outside, at once."""
    _word: dict[str, Any] | None = None

    @classmethod
    def of(cls, devices: int) -> "Team":
        """The team that this process was started in, or that it is about to start with ``trainer.devices``.

        Raises UserError where ``torchrun`` started another number of processes than ``devices`` asks for.
        """
        env = os.environ
        if "RANK" in env and (size := int(env.get("WORLD_SIZE", "1"))) > 1:
            if devices not in (1, here := int(env.get("LOCAL_WORLD_SIZE", size))):
                raise UserError(f"trainer.devices={devices}, but torchrun started {here} processes here; leave it out")
            return cls(int(env["RANK"]), size, here, torchrun=True)
        return cls(int(env["LOCAL_RANK"]) if TOLD in env else 0, devices, devices)

    @property
    def first(self) -> bool:
        """Whether the run is this process' to write."""
        return self.rank == 0

    def join(self, accelerator: str) -> None:
        """Meet the others, where they are there already."""
        if not self.torchrun or dist.is_initialized():
            return
        if accelerator != "cpu" and torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(_backend(accelerator), timeout=PATIENCE)

    # ---- the first tells, the others hear

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Within, the first process decides; whatever happens, the others aren't left waiting."""
        self._word = None
        try:
            yield
        except BaseException:
            self._tell({"failed": True})
            raise
        self._tell({"nothing": True})

    def tell(self, start: Start) -> None:
        """The run begins there."""
        self._tell(asdict(start))

    def _tell(self, word: dict[str, Any]) -> None:
        if self._word is None:
            self._word = word
            if self.torchrun:
                dist.broadcast_object_list([word])

    def heard(self) -> Start | None:
        """What the first process tells; None where there is nothing to do. Raises FirstProcessFailed."""
        if self.torchrun:
            words: list[Any] = [None]
            dist.broadcast_object_list(words)
            word = words[0]
        else:
            word = json.loads(os.environ[TOLD])
        if "failed" in word:
            raise FirstProcessFailed("the first process gave up")
        return None if "nothing" in word else Start(**word)

    # ---- Lightning

    def trainer_arguments(self, accelerator: str) -> dict[str, Any]:
        """Devices, strategy and environment for Lightning's Trainer."""
        if self.size == 1:
            return {"devices": 1, "strategy": "auto"}
        # a job of Slurm that holds several devices starts its processes as a workstation does, or by torchrun
        environment = TorchElasticEnvironment() if self.torchrun else LightningEnvironment()
        return {
            "devices": self.here,
            "num_nodes": self.size // self.here,
            "strategy": DDPStrategy(process_group_backend=_backend(accelerator), timeout=PATIENCE),
            "plugins": [environment],
        }

    @contextmanager
    def launching(self, threads: int) -> Iterator[None]:
        """Within, Lightning may start the other processes; each of them does this job alone, whatever the sweep."""
        if self.size == 1 or self.torchrun:
            yield
            return
        before = {name: os.environ.get(name) for name in LAUNCHERS_WORDS}
        os.environ["OMP_NUM_THREADS"] = str(threads)  # else Lightning sets its own number over ours
        if self.first:
            os.environ[TOLD] = json.dumps(self._word)
        try:
            with _command_of_this_job() if self.first else nullcontext():
                yield
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _backend(accelerator: str) -> str:
    """Gloo for what is on the processor (evaluation's sums, decisions), NCCL for gradients on GPUs."""
    return "cpu:gloo,cuda:nccl" if accelerator != "cpu" and torch.cuda.is_available() else "gloo"


@contextmanager
def _command_of_this_job() -> Iterator[None]:
    """Let Lightning find, as this program's command line, one that does the present job of a sweep and no other.

    It reads ``__main__`` and ``sys.argv``, which in a worker of joblib or submitit are that library's own.
    """
    arguments, program = sys.argv, sys.modules["__main__"]
    sys.argv = [arguments[0], *job_arguments()]
    sys.modules["__main__"] = importlib.import_module("trajlab.__main__")
    try:
        yield
    finally:
        sys.argv, sys.modules["__main__"] = arguments, program


def job_arguments() -> list[str]:
    """The present job of Hydra as arguments of ``python -m trajlab``. Raises UserError where there is none."""
    if not HydraConfig.initialized():
        raise UserError("trainer.devices above 1 needs the command line (python -m trajlab …) or torchrun")
    hydra = HydraConfig.get()
    searched = [s.path for s in hydra.runtime.config_sources if s.provider == "command-line"]
    return [*(a for path in searched for a in ("--config-dir", path)), *hydra.overrides.task]


# ---- what all processes agree on


def several() -> bool:
    """Whether a process group is there."""
    return dist.is_available() and dist.is_initialized()


def highest(number: int) -> int:
    """The highest of all processes' numbers."""
    if not several():
        return number
    value = torch.tensor(number)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def gathered(value: Any) -> list[Any]:
    """Every process' value, in the order of their ranks."""
    if not several():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def lost_companion(error: Exception) -> bool:
    """Whether a collective operation ended because another process is no more."""
    words = ("Connection closed by peer", "Connection reset by peer", "Connection refused", "Broken pipe")
    return several() and isinstance(error, RuntimeError) and any(w in str(error) for w in words)
