"""Files that are either whole or absent: written under a temporary name, flushed to the disk, renamed.

A temporary file or folder is named ``.<name>.@<host>.<process>.part`` and lies beside what it becomes. One whose process
has ended was left by a kill; whoever writes the same name again, or opens the same run again, removes it. On a folder that
several machines share, a machine knows its own processes alone: what another one left is removed after a day.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from itertools import count
from pathlib import Path
from typing import Any

from trajlab.errors import UserError

PART = re.compile(r"\.(?P<name>.+?)(?:\.@(?P<host>[0-9a-f]{8}))?\.(?P<process>\d+)\.part")
"""The names of temporary files and folders; nothing else is ever taken for one."""

_HOST = hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()
_ABANDONED_SECONDS = 24 * 3600.0
"""Age of what another machine was writing, by the files' own times: no part of a run takes so long to write."""

_writing: set[Path] = set()
"""Temporary files of this process that are being written: after a restart another process may have got its number."""


def publish(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file or folder beside ``path``, then give it its name in one step.

    A reader sees the old content or the new, never half of it, also after a power cut. Two processes that publish the
    same folder at once both succeed: the second finds it there. Raises UserError where the disk is full or the place
    can't be written.
    """
    temporary = temporary_name(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, escape(path.name))
        _writing.add(temporary)
        try:
            write(temporary)
            _flush_all(temporary)
            if temporary.is_dir() and path.is_dir():
                return
            os.replace(temporary, path)
            _flush(path.parent)
        finally:
            _remove(temporary)
            _writing.discard(temporary)


def publish_json(path: Path, content: Any) -> None:
    """`publish` for JSON, indented for people."""
    publish(path, lambda p: p.write_text(json.dumps(content, indent=2, sort_keys=False) + "\n"))


def temporary_name(path: Path) -> Path:
    """Where this process writes what becomes ``path``."""
    return path.with_name(f".{path.name}.@{_HOST}.{os.getpid()}.part")


def scratch_folder(path: Path) -> Path:
    """A folder like ``path`` for this process alone, which removes it with `remove_folder`, or the next one after a kill."""
    folder = temporary_name(path)
    _writing.add(folder)
    return folder


def taken_over(path: Path) -> Path:
    """`scratch_folder`, with what a killed process had in its own: a download goes on, and isn't begun anew."""
    folder = scratch_folder(path)
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        if _left_over(left) and not folder.exists():
            with suppress(FileNotFoundError):  # another process was quicker
                os.replace(left, folder)
    return folder


def remove_leftovers(folder: Path, name: str = "*", *, below: bool = False) -> None:
    """Remove what killed processes left of a name (a pattern) in a folder, or in all folders below it too."""
    pattern = f".{name}.*.part"
    for left in list(folder.rglob(pattern) if below else folder.glob(pattern)):
        if _left_over(left):
            _remove(left)


def _left_over(path: Path) -> bool:
    """Whether this is a temporary file or folder whose process has ended."""
    match = PART.fullmatch(path.name)
    if match is None or path in _writing:
        return False
    if match["host"] in (None, _HOST):
        return not _alive(int(match["process"]))
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
    except FileNotFoundError:
        return False


def remove_folder(folder: Path) -> None:
    """Remove a folder so that nobody ever finds half of it under its name; nothing happens where there is none."""
    _writing.discard(folder)
    doomed = temporary_name(folder)
    try:
        os.replace(folder, doomed)
    except FileNotFoundError:
        return
    _remove(doomed)


def set_aside(folder: Path) -> None:
    """Move a folder that is to be replaced to ``.<name>.replaced-<number>`` beside it, in one step."""
    names = (folder.with_name(f".{folder.name}.replaced-{i}") for i in count())
    with writable(folder):
        os.replace(folder, next(name for name in names if not name.exists()))


def remove_replaced(folder: Path, ours: Callable[[Path], bool]) -> None:
    """Remove what `set_aside` moved, in this process or in one that was killed: those folders that are ``ours``."""
    remove_leftovers(folder.parent, escape(f".{folder.name}.replaced-") + "*")
    for aside in folder.parent.glob(escape(f".{folder.name}.replaced-") + "*"):
        if ours(aside):
            remove_folder(aside)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Raise UserError, with the path and what to do, for a full disk and for a place that can't be written.

    Libraries report a full disk in their own ways (safetensors and torch raise errors that are no OSError), so the words
    and the place itself are looked at as well as the number of the error.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as e:
        number = _error_number(e)
        if _disk_full(e, number, path):
            raise UserError(
                f"{path} can't be written: the disk is full; free some space, or name another place. What was written "
                "before is whole, and the same command goes on from there"
            ) from e
        if number in _REFUSED:
            raise UserError(
                f"{path} can't be written ({os.strerror(number)}); name a place that can be, or change it"
            ) from e
        raise


_REFUSED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EFBIG,
    errno.EIO,
)  # fmt: skip
_NEARLY_NOTHING = 1 << 16
"""Bytes: a disk with less free was full for whoever just failed to write to it."""


def _error_number(error: Exception) -> int | None:
    """The operating system's number of an error; libraries in Rust give it in words alone."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    told = re.search(r"\(os error ([0-9]+)\)", str(error))
    return int(told[1]) if told else None


def _disk_full(error: Exception, number: int | None, path: Path) -> bool:
    if number is not None:
        return number in (errno.ENOSPC, errno.EDQUOT)
    if "No space left" in str(error):
        return True
    place = next((p for p in path.absolute().parents if p.is_dir()), None)
    return isinstance(error, RuntimeError) and place is not None and shutil.disk_usage(place).free < _NEARLY_NOTHING


def _alive(process: int) -> bool:
    """Whether a process of this number runs here; our own number counts as another's, see `_writing`."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return not _ended(process)


def _ended(process: int) -> bool:
    """Whether a process has ended and waits for its parent to ask how, as far as the machine tells."""
    try:
        told = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return told.rpartition(")")[2].split()[:1] == ["Z"]  # the name, in parentheses, may hold anything


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush_all(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            _flush(file)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
