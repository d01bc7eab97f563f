"""The run store: one folder a run, and the only writer of its tables.

`RunStore` decides whether a run is new, finished or to be resumed, writes table parts, snapshots, checkpoints and the
manifest, and takes back what lies beyond the checkpoint that a run resumes from. Every file is whole or absent. The
reader of tables is `trajlab.analysis.load`, which imports nothing from here. Names and places are those of
`trajlab.store.layout`.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trajlab.errors import UserError
from trajlab.files import publish, publish_json
from trajlab.protocols import Interval
from trajlab.store import layout
from trajlab.store.identity import differing_keys
from trajlab.store.tables import STORE


class RunStore:
    """The folder of one run. ``seed`` is None for published checkpoints."""

    def __init__(self, folder: Path | str, experiment: str, run: str, seed: int | None) -> None:
        self.folder = Path(folder)
        self.experiment, self.run, self.seed = experiment, run, seed

    @classmethod
    def open(cls, folder: Path | str) -> "RunStore":
        """The store of a run that is there already. Raises UserError where the folder holds none, or of another format."""
        manifest = read_manifest(Path(folder))
        if manifest is None:
            raise UserError(f"{folder} is no run of trajlab: it has no {layout.MANIFEST}; give the folder of a run")
        return cls(folder, manifest["experiment"], manifest["run"], manifest["seed"])

    # ---- the life of a run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing the run. Raises UserError where one does already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / layout.LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise UserError(f"{self.folder}: another process is writing this run; wait for it or end it") from e
            yield

    def status(self, config: Mapping[str, Any]) -> str:
        """``new``, ``finished`` or ``resume``.

        Raises UserError, naming the keys, where the folder holds a run of another configuration.
        """
        manifest = self.manifest()
        if manifest is None:
            return "new"
        if differing := differing_keys(manifest["config"], config):
            raise UserError(
                f"{self.folder} holds a run of another configuration:\n"
                + "\n".join(f"  - {k}: {a!r} there, {b!r} asked for" for k, a, b in differing)
                + f"\nWrite overwrite=true to replace it, run_keys=[seed,{differing[0][0]}] to keep both, or another name=…"
            )
        return "finished" if manifest["status"] == "finished" else "resume"

    def clear(self) -> None:
        """Remove the run's files."""
        for path in self.folder.iterdir() if self.folder.exists() else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != layout.LOCK:
                path.unlink()

    def manifest(self) -> dict[str, Any] | None:
        """What is known of the run, or None where there is none. Raises UserError as `read_manifest` does."""
        return read_manifest(self.folder)

    def update_manifest(self, **entries: Any) -> None:
        """Add or replace entries."""
        identity = {"format": layout.FORMAT, "experiment": self.experiment, "run": self.run, "seed": self.seed}
        publish_json(self.folder / layout.MANIFEST, {**identity, **(self.manifest() or {}), **entries})

    def write_config(self, text: str) -> None:
        """The resolved configuration, for people."""
        publish(self.folder / layout.CONFIG, lambda p: p.write_text(text))

    # ---- what a run writes

    def write(self, table: str, interval: Interval, rows: pa.Table, suffix: str = "") -> None:
        """The part of a table that belongs to an interval; written again, it is replaced.

        What is added to a run afterwards takes a ``suffix``, so that it is a part of its own.
        """
        values = {
            "experiment": self.experiment, "run": self.run, "seed": self.seed,
            "interval": interval.index, "tokens": interval.tokens, "step": interval.step,
        }  # fmt: skip
        absent = [(name, kind) for name, kind in STORE.items() if name not in rows.column_names]
        for position, (name, kind) in enumerate(absent):
            rows = rows.add_column(position, name, pa.array([values[name]] * len(rows), kind))
        publish(layout.part_path(self.folder, table, interval.index, suffix), lambda p: pq.write_table(rows, p))

    def read(self, table: str, columns: list[str]) -> pa.Table | None:
        """These columns of what is stored of a table, in the order of intervals; None where nothing is."""
        parts = layout.parts(self.folder, table)
        return pa.concat_tables([pq.read_table(p, columns=columns) for p in parts]) if parts else None

    def save_snapshot(self, interval: Interval, write: Callable[[Path], object]) -> Path:
        """The weights of an interval: ``snapshots/tokens=….safetensors``, which ``write`` fills."""
        path = layout.snapshot_path(self.folder, interval.tokens)
        publish(path, write)
        return path

    def save_checkpoint(self, write: Callable[[Path], object]) -> None:
        """``checkpoints/last.ckpt``, whose former content stays until the new one is whole."""
        publish(self.checkpoint, write)

    @property
    def checkpoint(self) -> Path:
        """Where the state to resume from lies."""
        return self.folder / layout.CHECKPOINT

    def rewind(self, last_interval: int, last_tokens: int) -> None:
        """Remove the parts and snapshots beyond a checkpoint; everything, with ``last_interval`` -1."""
        for part in layout.parts(self.folder):
            if layout.part_interval(part) > last_interval:
                part.unlink()
        for snapshot in layout.snapshots(self.folder):
            if layout.snapshot_tokens(snapshot) > last_tokens:
                snapshot.unlink()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What is known of the run in a folder; None where there is none.

    Raises UserError where the manifest can't be read and where it is of a format that this version doesn't know.
    """
    path = folder / layout.MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text())
    except ValueError as e:
        raise UserError(f"{path} can't be read ({e}); restore it, or remove the run's folder") from e
    if not isinstance(manifest, dict) or "experiment" not in manifest:
        raise UserError(f"{path} is no manifest of a run; restore it, or remove the run's folder")
    if manifest.get("format", layout.FORMAT) != layout.FORMAT:
        raise UserError(
            f"{path} is of format {manifest['format']!r}, this version of trajlab knows format {layout.FORMAT}; read it "
            "with the version that wrote it (versions.trajlab in the manifest)"
        )
    return manifest
