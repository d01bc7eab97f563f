"""Leases: files by which processes on one folder, on one machine or on many, agree who does what.

A lease is free where there is no file, where its owner is known to have ended, and where its owner has not been heard of
for the owner's own number of seconds. That somebody has ended is known at once on the same machine: the operating system
holds a lock on the file for as long as the owner lives. Elsewhere only silence tells: an owner writes a new number into
its file every few seconds, and whoever wants the lease watches, by its own clock, whether the number changes. No two
clocks are ever compared, so machines may disagree about the time.

An owner that was only slow (stopped, cut off from the disk) finds in `Lease.confirm` that its lease is another's now.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from trajlab.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: silence alone tells that an owner has ended
    fcntl = None  # type: ignore[assignment]

LENGTH = 512
"""Bytes of a lease's file: always the same, so that a beat is one small write in place."""
BEATS = 6
"""Beats within a lease's seconds: several may come late before anybody takes the owner for dead."""


class LostLease(UserError):
    """The lease is another process's now: what was done under it is left to that one."""


@cache
def machine() -> str:
    """This machine since its last start; the same in all its containers, since they share its locks on files."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


class Watch:
    """What was last read of others' leases, and for how long, by the own clock, it has been the same."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Path, tuple[bytes, float]] = {}
        self._alive: set[Path] = set()

    def silent(self, path: Path, content: bytes) -> bool:
        """Whether its owner's seconds have passed without a beat."""
        before, since = self._seen.get(path, (content, self._clock()))
        if before != content:
            since = self._clock()
            self._alive.add(path)
        self._seen[path] = (content, since)
        return self._clock() - since >= float(_owner(content).get("seconds", SECONDS))

    def heard(self, path: Path) -> bool:
        """Whether a beat has been seen since the watch began."""
        return path in self._alive


SECONDS = 120.0
"""How long an owner may be silent, where nothing else is said. A shared folder may show a write half a minute late."""


class Lease:
    """A lease that is held; made by `take`."""

    def __init__(self, path: Path, seconds: float, file: int) -> None:
        self.path, self.seconds, self._file = path, seconds, file
        self._owner = {
            "machine": machine(),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "token": secrets.token_hex(8),
            "seconds": seconds,
        }
        self._beat = 0
        self.beat()

    @classmethod
    def take(cls, path: Path, seconds: float, watch: Watch) -> "Lease | None":
        """The lease, or None where another process holds it or was the faster."""
        if (file := _created(path)) is not None:
            return cls(path, seconds, file)
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None  # given back this moment: the next attempt has it
        content = _read(file)
        if _ended(file, content) and _same_file(file, path):
            return cls(path, seconds, file)
        os.close(file)
        if watch.silent(path, content) and _removed(path, content) and (file := _created(path)) is not None:
            return cls(path, seconds, file)
        return None

    def beat(self) -> None:
        """Tell whoever watches that the owner lives. A file that was taken away is written in vain."""
        self._beat += 1
        content = json.dumps({**self._owner, "beat": self._beat}).encode()
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, content.ljust(LENGTH - 1) + b"\n")
        with suppress(OSError):
            os.fsync(self._file)

    def confirm(self) -> None:
        """Raise LostLease where it is another process's now."""
        try:
            found = self.path.read_bytes()
        except OSError:
            found = b""
        if _owner(found).get("token") != self._owner["token"]:
            raise LostLease(f"{self.path}: this process was silent for too long, another one has taken over")

    def release(self) -> None:
        """Give it back."""
        if _same_file(self._file, self.path):
            self.path.unlink(missing_ok=True)
        os.close(self._file)


def holder(path: Path, watch: Watch) -> str | None:
    """Who holds a lease, for people (``process 12 on node3``); None where it is free."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        content = _read(file)
        if _ended(file, content) or watch.silent(path, content):
            return None
    finally:
        os.close(file)
    owner = _owner(content)
    return f"process {owner.get('process', '?')} on {owner.get('host', 'another machine')}"


def known(path: Path, watch: Watch) -> bool:
    """Whether it is certain that a held lease's owner lives: it is on this machine, or it has been heard."""
    try:
        return _owner(path.read_bytes()).get("machine") == machine() or watch.heard(path)
    except OSError:
        return True


class Heart:
    """Keeps leases alive, from a thread of its own."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._leases: set[Lease] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()

    @contextmanager
    def beating(self) -> Iterator["Heart"]:
        """Beat until the block ends, then give back what is still held."""
        thread = threading.Thread(target=self._run, daemon=True, name="leases")
        thread.start()
        try:
            yield self
        finally:
            self._end.set()
            thread.join()
            for lease in list(self._leases):
                self.drop(lease)

    def keep(self, lease: Lease) -> Lease:
        """From now on it is kept alive."""
        with self._lock:
            self._leases.add(lease)
        return lease

    def drop(self, lease: Lease) -> None:
        """Give it back."""
        with self._lock:
            self._leases.discard(lease)
            lease.release()

    def _run(self) -> None:
        while not self._end.wait(self.seconds / BEATS):
            with self._lock:
                for lease in self._leases:
                    with suppress(OSError):  # a disk that is away for a while: the next beat may reach it
                        lease.beat()


def _created(path: Path) -> int | None:
    """A new file, locked, or None where there is one already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
    _locked(file)
    return file


def _ended(file: int, content: bytes) -> bool:
    """Whether the owner is of this machine and has ended; then the file's lock is ours from now on."""
    owner = _owner(content)
    return owner.get("machine") == machine() and _locked(file)


def _locked(file: int) -> bool:
    """Lock a file that is open. False where another holds it, and where the file system knows no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _removed(path: Path, content: bytes) -> bool:
    """Take away the silent owner's file, and no other's that came to its place meanwhile."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return False  # another process was the faster
    same = aside.read_bytes() == content
    if not same:
        with suppress(OSError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)
    return same


def _same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _read(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    return os.read(file, LENGTH)


def _owner(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:  # created, and not yet written
        return {}
    return found if isinstance(found, dict) else {}
