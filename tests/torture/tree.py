"""What a command has made, compared file by file with what an undisturbed one made."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

TIMES = (
    "seconds_train",
    "seconds_eval",
    "seconds_load",
    "tokens_per_second",
    "seconds",
    "started",
    "finished",
    "resumed",
    "git_commit",
)
"""Columns and keys that say how long something took, when it was, where it went on, and of which commit it was."""


LOGS = "logs"
"""A run's folder of this name belongs to loggers: a start that goes on makes one more version there."""


def differences(folder: Path, whole: Path) -> list[str]:
    """A sentence for each file or folder that is in one of the trees alone, and for each that differs."""
    here, there = ({str(p) for p in _below(f)} for f in (folder, whole))
    found = [f"{name} is there, and should not be" for name in sorted(here - there)]
    found += [f"{name} is missing" for name in sorted(there - here)]
    both = (name for name in sorted(here & there) if (whole / name).is_file())
    return found + [f"{name} differs" for name in both if not _equal(folder / name, whole / name)]


def _below(folder: Path) -> Iterator[Path]:
    return (p for p in (p.relative_to(folder) for p in folder.rglob("*")) if LOGS not in p.parts)


def _equal(file: Path, other: Path) -> bool:
    if file.read_bytes() == other.read_bytes():
        return True
    read = {".parquet": _rows, ".json": _json, ".ckpt": _state, ".html": _page}.get(file.suffix)
    return read is not None and _same(read(file), read(other))


def _rows(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(file, partitioning=None).to_pylist()
    return rows


def _json(file: Path) -> Any:
    return json.loads(file.read_text())


def _page(file: Path) -> str:
    """A report, less the minute in which it was made."""
    return re.sub(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}", "", file.read_text())


def _state(file: Path) -> Any:
    return torch.load(file, weights_only=True)


def _same(a: Any, b: Any) -> bool:
    """To the bit, times aside."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        kept, others = ({k: v for k, v in m.items() if str(k).lstrip("_") not in TIMES} for m in (a, b))
        return kept.keys() == others.keys() and all(_same(v, others[k]) for k, v in kept.items())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and bool(torch.equal(a, b))
    return type(a) is type(b) and (a == b or a != a)
