"""Commands without the wait for their imports: a parent that has imported everything forks a child for each.

`Server` is the client's side, ``python -m tests.torture.server`` the parent: one JSON request per line in, one answer out.
The parent itself computes nothing, so no thread runs in it when it forks. A child calls the entry point of the command
line as a shell would (or, where a line is given many times, starts from the configuration that the parent composed once),
and can be told to meet its fate at a chosen write (`Fate`): an audit hook counts whatever changes the file system, whoever
does it.
"""

import errno
import json
import os
import random
import resource
import select
import signal
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
"""Audit events that change the file system; so do `open` for writing and `os.fsync`, which is no event."""
LIMIT = 300.0
"""Seconds of a command; the longest, a report, took eight on an idle machine when this was chosen."""


@dataclass
class Fate:
    """What befalls a command: SIGKILL after some seconds or at the n-th write, or an error there, or a limit of size."""

    seconds: float | None = None
    write: int | None = None
    """From 1; it is not done any more."""
    error: int | None = None
    """The number of an OSError that is raised at the write; None: SIGKILL."""
    short: bool = False
    """Where the write is the flush of a file, half of the file is gone before the error: a short write."""
    file_bytes: int | None = None
    """No file may grow beyond that; every writer meets it, also those in C++ and Rust, as it would meet a quota."""


@dataclass
class Ended:
    """How a command ended."""

    code: int | None
    """None: it was killed."""
    seconds: float
    writes: int
    """How many changes of the file system it made; of a killed one 0."""
    out: str
    err: str
    late: bool = False
    """It was killed since it took longer than its limit."""


@dataclass
class Server:
    """A running parent; use it as a context."""

    environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> "Server":
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.server"],
            cwd=ROOT,
            env={**environment, "TOKENIZERS_PARALLELISM": "false", **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it holds nothing, and to unload what it imported takes long on a busy machine
        self._process.wait()

    def run(
        self,
        line: Sequence[str],
        folder: Path,
        fate: Fate | None = None,
        *,
        composed: bool = False,
        limit: float = LIMIT,
    ) -> Ended:
        """``python -m trajlab …`` in a folder, which also holds its cache.

        ``composed``: the configuration is composed once for all commands of the same line, which saves half a second.
        """
        assert self._process.stdin
        assert self._process.stdout
        request = {"line": list(line), "folder": str(folder), "fate": asdict(fate or Fate()), "limit": limit}
        request["composed"] = composed and line[0] not in ("report", "load")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the server has ended (status {self._process.wait()}) at {line}")
        return Ended(**json.loads(answer))


# ---- the parent


def serve() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for request in sys.stdin:
        answers.write(json.dumps(asdict(_forked(json.loads(request)))) + "\n")
        answers.flush()


def _forked(request: dict[str, Any]) -> Ended:
    files = {name: os.memfd_create(name) for name in ("out", "err", "writes")}
    fate = Fate(**request["fate"])
    if request["composed"]:
        _composed(tuple(request["line"]))  # before the fork, so that it is kept
    started = time.monotonic()
    child = os.fork()
    if not child:
        _live(request, fate, files)
    limit = min(request["limit"], fate.seconds or request["limit"])
    ended = _ended_within(child, limit)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - started
    said = {name: _content(file) for name, file in files.items()}
    code = os.waitstatus_to_exitcode(status)
    late = not ended and fate.seconds is None
    writes = int(said["writes"] or 0)
    return Ended(code if code >= 0 else None, seconds, writes, said["out"], said["err"], late)


def _ended_within(child: int, seconds: float) -> bool:
    handle = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(seconds, 0) * 1000))
    finally:
        os.close(handle)


def _content(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(file, errors="replace") as opened:
        return opened.read()


# ---- the child


def _live(request: dict[str, Any], fate: Fate, files: dict[str, int]) -> None:
    """Be the command; never returns."""
    os.dup2(files["out"], 1)
    os.dup2(files["err"], 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)  # as Python opens it
    os.chdir(request["folder"])
    os.environ["TRAJLAB_CACHE"] = "cache"
    counter = _Counter(fate)
    if fate.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fate.file_bytes, resource.RLIM_INFINITY))
    line = request["line"]
    code = _answered(lambda: _begun(line)) if request["composed"] else _answered(lambda: _typed(line))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.write(files["writes"], str(counter.count).encode())
    os._exit(code)


def _answered(command: Callable[[], None]) -> int:
    """The exit code of a command."""
    try:
        command()
    except SystemExit as e:
        if not isinstance(e.code, int | None):
            print(e.code, file=sys.stderr)
            return 1
        return e.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _typed(line: Sequence[str]) -> None:
    """The entry point, as a shell would call it; ``load`` reads runs as the report does, and makes none."""
    if line[0] == "load":
        return _read(Path(line[1]))
    from trajlab.__main__ import main

    sys.argv[:] = ["trajlab", *line]
    main()


def _read(runs: Path) -> None:
    from trajlab.analysis.load import load_runs

    try:
        print(load_runs(runs))
    except (FileNotFoundError, ValueError) as e:
        sys.exit(f"analysis: {e}")


def _begun(line: Sequence[str]) -> None:
    """What the entry point does once Hydra has composed the configuration."""
    from trajlab.command_line import explained
    from trajlab.tasks import run

    try:
        run(_composed(tuple(line)))
    except Exception as e:
        if (told := explained(e, list(line))) is None:
            raise
        sys.exit(f"trajlab: {told}")


@cache
def _composed(line: tuple[str, ...]) -> Any:
    from hydra import compose, initialize_config_module

    from trajlab.command_line import command_line

    with initialize_config_module("trajlab.conf", version_base="1.3"):
        return compose("config", overrides=command_line(list(line)))


class _Counter:
    """Counts writes, and does what fate says at one of them."""

    def __init__(self, fate: Fate) -> None:
        self.fate, self.count = fate, 0
        self._fsync: Callable[[int], None] = os.fsync
        os.fsync = self._counted_fsync  # type: ignore[assignment]
        sys.addaudithook(self._hook)

    def _counted_fsync(self, descriptor: int) -> None:
        self._write(descriptor)
        self._fsync(descriptor)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in WRITES or (event == "open" and _for_writing(*arguments)):
            self._write(path=arguments[0])

    def _write(self, flushed: int | None = None, path: Any = None) -> None:
        self.count += 1
        if self.count != self.fate.write:
            return
        if self.fate.error is None:
            os.kill(os.getpid(), signal.SIGKILL)
            return
        if self.fate.short and flushed is not None and _written_alone(os.fstat(flushed)):
            os.truncate(f"/proc/self/fd/{flushed}", os.fstat(flushed).st_size // 2)
        raise OSError(self.fate.error, os.strerror(self.fate.error), path)


def _written_alone(file: os.stat_result) -> bool:
    """A file, and no second name of one that was whole before."""
    return stat.S_ISREG(file.st_mode) and file.st_nlink == 1


def _for_writing(path: object, mode: str | None, flags: int) -> bool:
    if not isinstance(path, str | bytes) or os.fsdecode(path).startswith(("/dev/", "/proc/")):
        return False
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS)
"""A full disk, a place that is closed, a broken disk, one that can only be read."""


def drawn_fate(generator: random.Random, seconds: float, writes: int) -> Fate:
    """A kill at a random moment of an undisturbed command's time, or, as often, at a random one of its writes."""
    if generator.random() < 0.5:
        return Fate(seconds=generator.uniform(0.02, 1.0) * seconds)
    return Fate(write=generator.randint(1, max(writes, 1)))


def _import_everything() -> None:
    """What commands import, so that no child has to."""
    import importlib

    for name in (
        "lightning", "transformers.models.auto.modeling_auto", "transformers.models.llama.modeling_llama",
        "pandas", "scipy.optimize", "statsmodels.api", "matplotlib.pyplot", "jinja2", "datasets", "pyarrow.parquet",
        "trajlab.command_line", "trajlab.tasks.train", "trajlab.tasks.average", "trajlab.tasks.evaluate",
        "trajlab.tasks.export", "trajlab.tasks.prepare", "trajlab.tasks.mixture", "trajlab.tasks.audit",
        "trajlab.tasks.made_series", "trajlab.analysis.report", "trajlab.analysis.load",
        "trajlab.callbacks.interval_telemetry", "trajlab.callbacks.position_loss", "trajlab.callbacks.run_checkpoint",
        "trajlab.callbacks.step_telemetry", "trajlab.callbacks.token_loss", "trajlab.callbacks.weight_snapshots",
    ):  # fmt: skip
        importlib.import_module(name)


if __name__ == "__main__":
    _import_everything()
    serve()
