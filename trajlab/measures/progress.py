"""What of a series is done: each checkpoint × measure by itself, whatever the listing was when it was measured.

A measure has a name: ``losses:<split>``, ``task:<name>``, ``measure:<name>``. Table `measured` has a row for each that is
done, written after its rows; a series that was evaluated before there was such a table counts as its configuration says.
A checkpoint keeps its interval when the series grows; where new ones lie between old ones, the old are renumbered.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from trajlab.checkpoints.sources import Checkpoint
from trajlab.config.schema import BIGBENCH_SHOTS
from trajlab.config.technical import MOVED
from trajlab.errors import UserError
from trajlab.protocols import Interval
from trajlab.store import layout
from trajlab.store.renumber import renumber
from trajlab.store.run_store import RunStore, read_part
from trajlab.store.tables import CHECKPOINTS, MEASURED, TASKS

GROWING = ("measures", "data.validation")
"""Groups whose entries are measured apart: one more is no other configuration."""


def done_rows(store: RunStore) -> list[dict[str, Any]]:
    """Interval, step, revision and weights_hash of each checkpoint that is done."""
    rows = store.read(CHECKPOINTS.name, ["interval", "step", "revision", "weights_hash"])
    return rows.to_pylist() if rows else []


def earlier_with(digest: str, interval: int, rows: Iterable[Mapping[str, Any]]) -> str | None:
    """The revision of the first checkpoint before an interval that has weights of this hash."""
    same = [(r["interval"], r["revision"]) for r in rows if r["weights_hash"] == digest and r["interval"] < interval]
    return min(same)[1] if same else None


def settle_duplicates(store: RunStore) -> None:
    """Table `checkpoints` names each duplicate's first checkpoint, in whatever order they were measured."""
    done = done_rows(store)
    for part in layout.parts(store.folder, CHECKPOINTS.name):
        rows = read_part(part)
        [row] = rows.to_pylist()
        first = earlier_with(row["weights_hash"], row["interval"], done)
        if row["same_weights_as"] != first:
            place = rows.column_names.index("same_weights_as")
            rows = rows.set_column(place, "same_weights_as", pa.array([first], pa.string()))
            store.write(CHECKPOINTS.name, Interval(row["interval"], row["tokens"], row["tokens"], row["step"]), rows)


def part_suffix(measure: str) -> str:
    """What a measure's parts are called by: a function of its name, safe as a file's name."""
    plain = re.sub(r"[^\w-]+", "-", measure)
    digest = hashlib.blake2b(measure.encode(), digest_size=4).hexdigest()
    return plain if plain == measure.replace(":", "-", 1) else f"{plain[:80]}-{digest}"


class Progress:
    """What of a stored series is done."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self.described = {r["interval"]: r for r in done_rows(store)}
        """Intervals with a row in table `checkpoints`."""
        self._done: dict[int, set[str]] = {}
        self._revisions: dict[tuple[int, str], int] = {}
        measured = store.read(MEASURED.name, ["interval", "step", "revision", "measure"])
        for row in measured.to_pylist() if measured else []:
            self._done.setdefault(row["interval"], set()).add(row["measure"])
            self._revisions[row["step"], row["revision"]] = row["interval"]
        for interval, row in self.described.items():
            self._revisions[row["step"], row["revision"]] = interval
            if interval not in self._done:
                self._done[interval] = self._by_configuration(interval)

    def missing(self, checkpoint: Checkpoint, wanted: Sequence[str]) -> list[str]:
        """The measures that this checkpoint lacks, in the order given."""
        return [m for m in wanted if m not in self._done.get(checkpoint.index, ())]

    def todo(self, checkpoint: Checkpoint, wanted: Sequence[str]) -> bool:
        """Whether anything of it is to be done."""
        return checkpoint.index not in self.described or bool(self.missing(checkpoint, wanted))

    def add(self, checkpoint: Checkpoint, measure: str) -> None:
        """A measure is done."""
        self._done.setdefault(checkpoint.index, set()).add(measure)

    def reread(self, checkpoint: Checkpoint) -> None:
        """Look again what of a checkpoint is done: another process may have been at it."""
        index = checkpoint.index
        described, measured = (
            layout.part_path(self.store.folder, CHECKPOINTS.name, index),
            f"part-{index:05d}.*.parquet",
        )
        parts = [
            p for p in layout.parts(self.store.folder, MEASURED.name, measured) if layout.part_interval(p) == index
        ]
        done = {m for p in parts for m in read_part(p, ["measure"])["measure"].to_pylist()}
        self._done[index] = done or self._done.get(index, set())
        if described.exists():
            [row] = read_part(described, ["interval", "step", "revision", "weights_hash"]).to_pylist()
            self.described[index] = row
            self._done[index] = done or self._by_configuration(index)

    def lacking(self, checkpoints: Sequence[Checkpoint], wanted: Sequence[str]) -> bool:
        """Whether anything of the listed checkpoints is to be done, whatever numbers they get."""
        found = numbered(checkpoints, self._revisions)
        return any(self.todo(replace(c, index=found[c.step, c.revision]), wanted) for c in checkpoints)

    def moved(self, checkpoints: Sequence[Checkpoint], planned: Mapping[tuple[int, str], int]) -> dict[int, int]:
        """The stored and the ``planned`` intervals that get another number, with it."""
        known = {**planned, **self._revisions}
        found = numbered(checkpoints, known)
        return {old: new for key, old in known.items() if (new := found[key]) != old}

    def placed(
        self,
        checkpoints: Sequence[Checkpoint],
        *,
        only_at_the_end: bool,
        planned: Mapping[tuple[int, str], int] | None = None,
    ) -> list[Checkpoint]:
        """The listed checkpoints with the intervals that they have, or get, in the store.

        ``planned`` are those that other processes are at. Raises UserError where ``only_at_the_end`` (an average goes over
        the series) and the listing changed before its end.
        """
        planned = planned or {}
        found, moved = numbered(checkpoints, {**planned, **self._revisions}), self.moved(checkpoints, planned)
        placed = [replace(c, index=found[c.step, c.revision]) for c in checkpoints]
        if only_at_the_end and (moved or placed != list(checkpoints)):
            raise UserError(
                f"{self.store.folder}: the series has other checkpoints than before, and its averages are made of them; "
                "name the former ones (model.series.steps) with more at the end only, or write overwrite=true"
            )
        if moved:
            renumber(self.store.folder, moved)
            self.__init__(self.store)  # type: ignore[misc]
        return placed

    def _by_configuration(self, interval: int) -> set[str]:
        """What a series was asked that has no table `measured`."""
        manifest = self.store.manifest() or {}
        config = _moved(manifest.get("config", {}))
        tasks = self.store.read(TASKS.name, ["interval", "task"])
        rows = tasks.to_pylist() if tasks else []
        return {
            *(f"losses:{s}" for s in manifest.get("data", {}).get("windows", {})),
            *(f"measure:{m}" for m in config.get("measures") or {}),
            *(f"task:{r['task']}" for r in rows if r["interval"] == interval),
            *(f"task:{t}" for t in _tasks(config)),
        }


def numbered(checkpoints: Sequence[Checkpoint], stored: Mapping[tuple[int, str], int]) -> dict[tuple[int, str], int]:
    """The interval of every stored and every listed checkpoint, by step and revision, in the order of training.

    Stored ones keep theirs where the new ones fit between them; else all are numbered anew.
    """
    keys = sorted({*stored, *((c.step, c.revision) for c in checkpoints)})
    found: dict[tuple[int, str], int] = {}
    last = -1
    for key in keys:
        index = stored.get(key, last + 1)
        if index <= last:
            return {k: i for i, k in enumerate(keys)}
        found[key] = last = index
    return found


# ---- the configuration of a series that grows


def comparable(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked, as far as it may not differ from the stored: growing groups as they are stored, save for changes."""
    stored, plain = _moved(stored), dict(asked)
    for key in GROWING:
        before, now = _group(stored, key), _group(asked, key)
        plain = _with_group(plain, key, {**before, **{k: v for k, v in now.items() if k in before}})
    if not _tasks(stored) and "benchmark" in stored:
        plain["benchmark"] = stored["benchmark"]
    shots = {(c.get("benchmark") or {}).get("shots") for c in (stored, plain)}
    if shots == {None, BIGBENCH_SHOTS} and plain["benchmark"].get("backend") == "bigbench":
        plain["benchmark"] = {**plain["benchmark"], "shots": stored["benchmark"].get("shots")}
    return plain


def union(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked and what was asked before: the configuration of a series that has grown."""
    stored, plain = _moved(stored), dict(asked)
    for key in GROWING:
        plain = _with_group(plain, key, {**_group(stored, key), **_group(asked, key)})
    before = _tasks(stored)
    if before and "benchmark" in plain:
        benchmark = plain["benchmark"] if _tasks(plain) else stored["benchmark"]
        plain["benchmark"] = {**benchmark, "tasks": list(dict.fromkeys([*before, *_tasks(plain)]))}
    return plain


def _tasks(config: Mapping[str, Any]) -> list[str]:
    return list((config.get("benchmark") or {}).get("tasks") or [])


def _group(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value: Any = config
    for name in key.split("."):
        value = (value or {}).get(name)
    return dict(value or {})


def _with_group(config: dict[str, Any], key: str, group: dict[str, Any]) -> dict[str, Any]:
    head, _, rest = key.partition(".")
    return {**config, head: _with_group(dict(config.get(head) or {}), rest, group) if rest else group}


def _moved(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with the keys that have moved since where they stand today."""
    plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in config.items()}
    for before, now in MOVED.items():
        (old_group, old), (group, name) = before.split("."), now.split(".")
        if isinstance(plain.get(old_group), dict) and old in plain[old_group]:
            plain.setdefault(group, {}).setdefault(name, plain[old_group].pop(old))
    return plain


def groups_by_hash(rows: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Groups of revisions that share their weights."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row["weights_hash"], []).append(row["revision"])
    return [g for g in groups.values() if len(g) > 1]
