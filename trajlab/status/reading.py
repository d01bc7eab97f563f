"""What is known of a run from its folder: manifest, the names and times of its parts, the newest rows of two tables."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trajlab.store import layout

LOCKS = Path("/proc/locks")
FRESH_SECONDS = 60.0
"""A run whose process can't be seen counts as running if it wrote something this lately, or within three intervals."""


@dataclass(frozen=True)
class Facts:
    """One run as it stands."""

    folder: Path
    experiment: str
    run: str
    state: str
    """finished, running, stopped (it was killed or interrupted: the same command goes on), diverged, or unreadable."""
    tokens: int | None = None
    """At the newest interval."""
    budget: int | None = None
    loss: float | None = None
    """Validation loss of the raw weights there, of the first split."""
    tokens_per_second: float | None = None
    """All that happens between two intervals included."""
    seconds_left: float | None = None
    """None where the run isn't running, or nothing tells its speed."""
    forecast: tuple[float, float, float] | None = None
    """The final loss to be expected, with its band of 90 %."""


def facts(folder: Path) -> Facts:
    """What a run's folder tells."""
    try:
        manifest = json.loads((folder / layout.MANIFEST).read_text())
        experiment, run = manifest["experiment"], manifest["run"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return Facts(folder, folder.parent.name, folder.name, "unreadable")
    config = manifest.get("config") or {}
    # what was added to the run afterwards (a suffix) tells nothing of how far it is
    parts = [p for p in layout.parts(folder, "intervals") if not layout.part_suffix(p)]
    rows = _rows(parts[-1], ["tokens", "split", "variant", "loss", "tokens_per_second"]) if parts else []
    newest = max((r["tokens"] for r in rows), default=0)  # a part may hold several intervals
    raw = next((r for r in rows if (r["variant"], r["tokens"]) == ("raw", newest)), {})
    budget = (config.get("intervals") or {}).get("budget_tokens")
    pace = _seconds_per_token(parts)
    speed = 1 / pace if pace else raw.get("tokens_per_second")
    state = _state(manifest, folder, parts, pace)
    left = None
    if state == "running" and speed and budget and raw:
        since = time.time() - parts[-1].stat().st_mtime
        left = max(0.0, (budget - raw["tokens"]) / speed - since)
    return Facts(
        folder, experiment, run, state, raw.get("tokens"), budget, raw.get("loss"), speed, left,
        _forecast(folder) if state != "finished" else None,
    )  # fmt: skip


def _rows(part: Path, columns: list[str]) -> list[dict[str, Any]]:
    try:
        # read_table goes through a data set, for which pandas is imported
        return pq.ParquetFile(part).read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError, KeyError):
        return []


def _seconds_per_token(parts: list[Path]) -> float | None:
    """From the times at which the last two intervals were written; None where the run rested between them.

    A rest shows as a long wait: then the shorter of the last two differences is the run's pace.
    """
    paces = []
    for former, latter in list(pairwise(parts))[-2:]:
        seconds = latter.stat().st_mtime - former.stat().st_mtime
        tokens = _tokens(latter) - _tokens(former)
        if seconds > 0 and tokens > 0:
            paces.append(seconds / tokens)
    return min(paces, default=None)


def _tokens(part: Path) -> int:
    rows = _rows(part, ["tokens"])
    return rows[0]["tokens"] if rows else 0


def _state(manifest: Mapping[str, Any], folder: Path, parts: list[Path], pace: float | None) -> str:
    stored = str(manifest.get("status", "unknown"))
    if stored != "running" or _locked_here(folder):
        return stored
    newest = max((p.stat().st_mtime for p in [folder / layout.MANIFEST, *parts[-1:]]), default=0.0)
    interval = _tokens(parts[-1]) - _tokens(parts[-2]) if len(parts) > 1 else 0
    patience = max(FRESH_SECONDS, 3 * interval * (pace or 0.0))
    seen_here = LOCKS.exists() and manifest.get("host") == os.uname().nodename
    return "running" if not seen_here and time.time() - newest < patience else "stopped"


def _locked_here(folder: Path) -> bool:
    """Whether a process of this machine holds the run's lock, or a lease of those that evaluate it side by side.

    They are only looked at: taking the lock could refuse a run its start.
    """
    try:
        inodes = {p.stat().st_ino for p in [*folder.glob(layout.LOCK), *folder.glob(f"{layout.WORKERS}/*")]}
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return False
    return any(f":{inode} " in line for line in lines for inode in inodes)


def _forecast(folder: Path) -> tuple[float, float, float] | None:
    """The newest one that wasn't refused: the default's, whose band is calibrated, else of the first law that gave one."""
    if not (parts := layout.parts(folder, "forecasts")):
        return None
    given = [r for r in _rows(parts[-1], ["law", "forecast", "low", "high"]) if r["forecast"] is not None]
    chosen = next((r for r in given if r["law"] == "default"), given[0] if given else None)
    return None if chosen is None else (chosen["forecast"], chosen["low"], chosen["high"])
