"""The run store: one folder a run, and the only writer of its tables.

`RunStore` decides whether a run is new, finished or to be resumed, writes table parts, snapshots, checkpoints and the
manifest, and takes back what lies beyond the checkpoint that a run resumes from. Every file is whole or absent. The
reader is `trajlab.analysis.load`, which knows the layout from docs/tables.md and imports nothing from here.
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
from safetensors.torch import save_file
from torch import Tensor

from trajlab.errors import UserError
from trajlab.files import publish, publish_json
from trajlab.protocols import Interval
from trajlab.store.identity import differing_keys


class RunStore:
    """The folder of one run. ``seed`` is None for published checkpoints."""

    def __init__(self, folder: Path | str, experiment: str, run: str, seed: int | None) -> None:
        self.folder = Path(folder)
        self.experiment, self.run, self.seed = experiment, run, seed

    # ---- the life of a run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing the run. Raises UserError where one does already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
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
            elif path.name != ".lock":
                path.unlink()

    def manifest(self) -> dict[str, Any] | None:
        """What is known of the run, or None where there is none."""
        path = self.folder / "manifest.json"
        return json.loads(path.read_text()) if path.exists() else None

    def update_manifest(self, **entries: Any) -> None:
        """Add or replace entries."""
        identity = {"experiment": self.experiment, "run": self.run, "seed": self.seed}
        publish_json(self.folder / "manifest.json", {**identity, **(self.manifest() or {}), **entries})

    def write_config(self, text: str) -> None:
        """The resolved configuration, for people."""
        publish(self.folder / "config.yaml", lambda p: p.write_text(text))

    # ---- what a run writes

    def write(self, table: str, interval: Interval, rows: pa.Table, suffix: str = "") -> None:
        """The part of a table that belongs to an interval; written again, it is replaced.

        What is added to a run afterwards takes a ``suffix``, so that it is a part of its own.
        """
        identity = {
            "experiment": pa.array([self.experiment] * len(rows), pa.string()),
            "run": pa.array([self.run] * len(rows), pa.string()),
            "seed": pa.array([self.seed] * len(rows), pa.int64()),
            "interval": pa.array([interval.index] * len(rows), pa.int64()),
            "tokens": pa.array([interval.tokens] * len(rows), pa.int64()),
            "step": pa.array([interval.step] * len(rows), pa.int64()),
        }
        for position, (name, column) in enumerate((n, c) for n, c in identity.items() if n not in rows.column_names):
            rows = rows.add_column(position, name, column)
        name = f"part-{interval.index:05d}{suffix and '.'}{suffix}.parquet"
        path = self.folder / "metrics" / table / name
        publish(path, lambda p: pq.write_table(rows, p))

    def read(self, table: str, columns: list[str]) -> pa.Table | None:
        """These columns of what is stored of a table, in the order of intervals; None where nothing is."""
        parts = sorted((self.folder / "metrics" / table).glob("part-*.parquet"))
        return pa.concat_tables([pq.read_table(p, columns=columns) for p in parts]) if parts else None

    def save_snapshot(self, interval: Interval, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Path:
        """Weights as ``snapshots/tokens=….safetensors``; shared storage must have been named once."""
        path = self.folder / "snapshots" / f"tokens={interval.tokens:012d}.safetensors"
        tensors = {name: t.detach().cpu().contiguous() for name, t in weights.items()}
        entries = {**metadata, "tokens": str(interval.tokens), "step": str(interval.step)}
        publish(path, lambda p: save_file(tensors, p, metadata=entries))
        return path

    def save_checkpoint(self, write: Callable[[Path], object]) -> None:
        """``checkpoints/last.ckpt``, whose former content stays until the new one is whole."""
        publish(self.checkpoint, write)

    @property
    def checkpoint(self) -> Path:
        """Where the state to resume from lies."""
        return self.folder / "checkpoints" / "last.ckpt"

    def rewind(self, last_interval: int, last_tokens: int) -> None:
        """Remove the parts and snapshots beyond a checkpoint; everything, with ``last_interval`` -1."""
        for part in self.folder.glob("metrics/*/part-*.parquet"):
            if int(part.name.removeprefix("part-").split(".")[0]) > last_interval:
                part.unlink()
        for snapshot in self.folder.glob("snapshots/tokens=*.safetensors"):
            if int(snapshot.stem.removeprefix("tokens=")) > last_tokens:
                snapshot.unlink()
