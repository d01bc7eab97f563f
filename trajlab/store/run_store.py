"""The run store: one folder a run, and the only writer of its tables.

`RunStore` decides whether a run is new, finished or to be resumed, writes table parts, snapshots, checkpoints and the
manifest, and takes back what lies beyond the checkpoint that a run resumes from. Every file is whole or absent. The
reader of tables is `trajlab.analysis.load`, which imports nothing from here. Names and places are those of
`trajlab.store.layout`.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from trajlab.errors import ConfigProblems, UserError
from trajlab.files import publish, publish_json, remove_leftovers, remove_replaced, set_aside, writable
from trajlab.names import name_problems
from trajlab.protocols import Interval
from trajlab.store import layout
from trajlab.store.broken import readable
from trajlab.store.identity import differing_keys
from trajlab.store.tables import STORE
from trajlab.store.workers import Workers


class RunStore:
    """The folder of one run. ``seed`` is None for published checkpoints."""

    def __init__(self, folder: Path | str, experiment: str, run: str, seed: int | None) -> None:
        self.folder = Path(folder)
        self.experiment, self.run, self.seed = experiment, run, seed
        self._locks = ExitStack()

    @classmethod
    def below(cls, runs_dir: Path | str, experiment: str, run: str, seed: int | None) -> "RunStore":
        """The store of ``<runs_dir>/<experiment>/<run>``. Raises ConfigProblems where one of these is no name."""
        problems = [*name_problems("name", experiment), *name_problems("the run's name", run)]
        if problems:
            raise ConfigProblems(problems)
        return cls(Path(runs_dir) / experiment / run, experiment, run, seed)

    @classmethod
    def open(cls, folder: Path | str) -> "RunStore":
        """The store of a run that is there already. Raises UserError where the folder holds none, or of another format."""
        manifest = read_manifest(Path(folder))
        if manifest is None:
            raise UserError(f"{folder} is no run of trajlab: it has no {layout.MANIFEST}; give the folder of a run")
        return cls(folder, manifest["experiment"], manifest["run"], manifest.get("seed"))

    # ---- the life of a run

    @contextmanager
    def lock(self, *, wait: float = 0.0) -> Iterator[None]:
        """Keep other processes from writing the run. Raises UserError where one does already.

        The processes that evaluate a series side by side take turns: each waits this many seconds, and only they may come
        while the others are there.
        """
        with self._locks:
            self._take_lock(wait)
            if not wait and (others := Workers(self.folder).others(certain=True)):
                raise UserError(f"{self.folder}: {others[0]} evaluates this series; wait for its end, or end it")
            yield

    def _take_lock(self, wait: float = 0.0) -> None:
        with writable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._locks.enter_context(FileLock(self.folder / layout.LOCK, timeout=wait))
            except Timeout as e:
                raise UserError(f"{self.folder}: another process is writing this run; wait for it or end it") from e

    def begin(self, config: Mapping[str, Any], *, overwrite: bool = False) -> str:
        """``new``, ``finished`` or ``resume``, as `status` says it, in a folder that is ready to be written.

        With ``overwrite`` a stored run is moved aside and removed once the new one has a manifest. Raises UserError where
        the folder holds anything but this run: it is left as it is.
        """
        remove_leftovers(self.folder, below=True)
        if overwrite:
            self._set_aside()
        elif self.manifest() is None and (found := self._content()):
            raise UserError(
                f"{self.folder} holds {found[0].name} but no {layout.MANIFEST}, so it isn't "
                "known whose it is; restore the manifest, move the folder away, or give another name=…"
            )
        return self.status(config)

    def status(self, config: Mapping[str, Any]) -> str:
        """``new``, ``finished`` or ``resume``.

        Raises UserError, naming the keys, where the folder holds a run of another configuration.
        """
        manifest = self.manifest()
        if manifest is None:
            return "new"
        if not isinstance(stored := manifest.get("config"), Mapping):
            raise UserError(
                f"{self.folder / layout.MANIFEST} holds no configuration; restore it, or write overwrite=true"
            )
        if differing := differing_keys(stored, config):
            raise UserError(
                f"{self.folder} holds a run of another configuration:\n"
                + "\n".join(f"  - {k}: {a!r} there, {b!r} asked for" for k, a, b in differing)
                + f"\nWrite overwrite=true to replace it, run_keys=[seed,{differing[0][0]}] to keep both, or another name=…"
            )
        return "finished" if manifest.get("status") == "finished" else "resume"

    def _set_aside(self) -> None:
        """Move the stored run to a name of its own, in one step, so that a kill leaves one run or the other.

        Raises UserError where the folder's manifest doesn't say that it is this run, and where other runs lie below it.
        """
        manifest, content = self.manifest(), self._content()
        if manifest is None and not content:
            return
        if not self._is_this_run(self.folder):
            there = (
                f"the run {manifest['run']} of {manifest['experiment']}"
                if manifest
                else f"{content[0].name}, no manifest"
            )
            raise UserError(
                f"{self.folder} holds {there}, not the run {self.run} of {self.experiment}; overwrite=true replaces a run "
                "by itself alone: move the folder away, or give another name=…"
            )
        if below := [f for f in layout.run_folders(self.folder) if f != self.folder]:
            raise UserError(f"{below[0]} is another run within {self.folder}; move it away before overwrite=true")
        set_aside(self.folder)
        self._take_lock()

    def _is_this_run(self, folder: Path) -> bool:
        manifest = read_manifest(folder)
        return manifest is not None and (manifest["experiment"], manifest["run"]) == (self.experiment, self.run)

    def _content(self) -> list[Path]:
        """Whatever the folder holds beside the lock and what processes say to one another."""
        ours = (layout.LOCK, layout.WORKERS)
        return sorted(p for p in self.folder.iterdir() if p.name not in ours) if self.folder.is_dir() else []

    def manifest(self) -> dict[str, Any] | None:
        """What is known of the run, or None where there is none. Raises UserError as `read_manifest` does."""
        return read_manifest(self.folder)

    def update_manifest(self, **entries: Any) -> None:
        """Add or replace entries."""
        identity = {"format": layout.FORMAT, "experiment": self.experiment, "run": self.run, "seed": self.seed}
        publish_json(self.folder / layout.MANIFEST, {**identity, **(self.manifest() or {}), **entries})
        remove_replaced(self.folder, self._is_this_run)

    def write_config(self, text: str) -> None:
        """The resolved configuration, for people."""
        publish(self.folder / layout.CONFIG, lambda p: p.write_text(text))

    # ---- what a run writes

    def write(self, table: str, interval: Interval, rows: pa.Table, suffix: str = "") -> None:
        """The part of a table that belongs to an interval; written again, it is replaced.

        What is added to a run afterwards takes a ``suffix``, so that it is a part of its own.
        """
        values = {
            "experiment": self.experiment,
            "run": self.run,
            "seed": self.seed,
            "interval": interval.index,
            "tokens": interval.tokens,
            "step": interval.step,
        }
        absent = [(name, kind) for name, kind in STORE.items() if name not in rows.column_names]
        for position, (name, kind) in enumerate(absent):
            rows = rows.add_column(position, name, pa.array([values[name]] * len(rows), kind))
        publish(layout.part_path(self.folder, table, interval.index, suffix), lambda p: pq.write_table(rows, p))

    def read(self, table: str, columns: list[str]) -> pa.Table | None:
        """These columns of what is stored of a table, in the order of intervals; None where nothing is."""
        parts = layout.parts(self.folder, table)
        return pa.concat_tables([read_part(p, columns) for p in parts]) if parts else None

    def remove_parts(self, suffix: str) -> None:
        """Remove what was added to the run under a suffix."""
        for part in layout.parts(self.folder):
            if layout.part_suffix(part) == suffix:
                part.unlink()

    def save_snapshot(self, interval: Interval, write: Callable[[Path], object]) -> Path:
        """The weights of an interval: ``snapshots/tokens=….safetensors``, which ``write`` fills."""
        path = layout.snapshot_path(self.folder, interval.tokens)
        publish(path, write)
        return path

    def save_checkpoint(self, write: Callable[[Path], object]) -> None:
        """``checkpoints/last.ckpt``; the former one becomes ``previous.ckpt``, for the case that the last is damaged."""
        if self.checkpoint.exists():
            publish(self.previous_checkpoint, partial(_second_name, self.checkpoint))
        publish(self.checkpoint, write)

    @property
    def checkpoint(self) -> Path:
        """Where the state to resume from lies."""
        return self.folder / layout.CHECKPOINT

    @property
    def previous_checkpoint(self) -> Path:
        """Where the state before that one lies."""
        return self.folder / layout.PREVIOUS_CHECKPOINT

    def rewind(self, last_interval: int, last_tokens: int) -> None:
        """Remove the parts and snapshots beyond a checkpoint; everything, with ``last_interval`` -1."""
        for part in layout.parts(self.folder):
            if layout.part_interval(part) > last_interval:
                part.unlink()
        for snapshot in layout.snapshots(self.folder):
            if layout.snapshot_tokens(snapshot) > last_tokens:
                snapshot.unlink()


def _second_name(file: Path, name: Path) -> None:
    """The same file under another name; a copy where the file system has no such thing."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


def read_part(part: Path, columns: list[str] | None = None) -> pa.Table:
    """These columns of a part, or all. Raises UserError where it is broken or lacks one."""
    with readable(part):
        return pq.read_table(part, columns=columns, partitioning=None)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What is known of the run in a folder; None where there is none.

    Raises UserError where the manifest can't be read and where it is of a format that this version doesn't know.
    """
    path = folder / layout.MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as e:
        raise UserError(f"{path} can't be read ({e}); restore it, or remove the run's folder") from e
    if not isinstance(manifest, dict) or not all(isinstance(manifest.get(k), str) for k in ("experiment", "run")):
        raise UserError(f"{path} is no manifest of a run; restore it, or remove the run's folder")
    if manifest.get("format", layout.FORMAT) != layout.FORMAT:
        raise UserError(
            f"{path} is of format {manifest['format']!r}, this version of trajlab knows format {layout.FORMAT}; read it "
            "with the version that wrote it (versions.trajlab in the manifest)"
        )
    return manifest
