"""The reader of run stores: folders of Parquet in, one frame a table out.

`load_runs` takes a run's folder, an experiment's, or any folder above. What the tables hold stands in docs/tables.md.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trajlab.analysis.tables import FORMAT, ORDER, ORDER_OF, as_expected


@dataclass(frozen=True)
class Runs:
    """The stored runs of a folder. A table that no run has is an empty frame."""

    tables: dict[str, pd.DataFrame]
    manifests: list[dict[str, Any]] = field(default_factory=list)
    """One a run: status, configuration, data, parameters, versions; with ``folder``."""
    diverged: list[str] = field(default_factory=list)
    """``experiment/run`` of the runs that diverged and are left out of tables and manifests."""

    def table(self, name: str) -> pd.DataFrame:
        """A table by name, plug-ins' ones too."""
        return self.tables.get(name, pd.DataFrame())

    @property
    def intervals(self) -> pd.DataFrame:
        """A row per run × interval × variant × split."""
        return self.table("intervals")

    @property
    def steps(self) -> pd.DataFrame:
        """A row per run × optimizer step."""
        return self.table("steps")

    @property
    def positions(self) -> pd.DataFrame:
        """A row per run × interval × variant × split × position."""
        return self.table("positions")

    @property
    def tokens(self) -> pd.DataFrame:
        """A row per run × interval × variant × probe token."""
        return self.table("tokens")

    @property
    def tasks(self) -> pd.DataFrame:
        """A row per checkpoint × task."""
        return self.table("tasks")

    def select(self, **values: Any) -> "Runs":
        """The runs whose rows hold these values, e.g. ``variant="raw"``; tables without the column stay whole."""
        tables = dict(self.tables)
        for name, frame in tables.items():
            for column, value in values.items():
                if column in frame:
                    frame = frame[frame[column] == value]
            tables[name] = frame.reset_index(drop=True)
        manifests = [m for m in self.manifests if all(m.get(k, v) == v for k, v in values.items())]
        return Runs(tables, manifests, self.diverged)

    @property
    def caption(self) -> str:
        """The data behind the runs and how many there are, for figures and reports."""
        sources = sorted(
            {m["data"]["source"] + f" [{m['data']['fingerprint'][:8]}]" for m in self.manifests if "data" in m}
        )
        count = f"{len(self.manifests)} run{'s' if len(self.manifests) != 1 else ''}"
        without = f" · left out, since diverged: {', '.join(self.diverged)}" if self.diverged else ""
        return f"{', '.join(sources) or 'unknown data'} · {count}{without}"

    def entropy_floor(self, split: str) -> float | None:
        """Nats per token that no model can beat, where all runs know the same one."""
        floors = {m.get("data", {}).get("entropy_floor", {}).get(split) for m in self.manifests}
        return floors.pop() if len(floors) == 1 else None


def load_runs(path: Path | str, *, finished_only: bool = False, diverged: bool = False) -> Runs:
    """All runs at or below ``path``; those that diverged only with ``diverged``, since a mean over them means nothing.

    Raises FileNotFoundError where there is none, ValueError where a run is of a format that this version doesn't know or a
    column of another type than docs/tables.md says, and where runs of one experiment were trained on different data: their
    curves must not be pooled.
    """
    manifests = [_manifest(m) for m in sorted(Path(path).rglob("manifest.json"))]
    if finished_only:
        manifests = [m for m in manifests if m["status"] == "finished"]
    lost = [m for m in manifests if m["status"] == "diverged" and not diverged]
    manifests = [m for m in manifests if m not in lost]
    if lost and not manifests:
        raise FileNotFoundError(f"{path}: every run stored here has diverged; load_runs(…, diverged=True) reads them")
    if not manifests:
        raise FileNotFoundError(f"{path}: no run is stored here; a run's folder holds a manifest.json")
    _refuse_mixed_data(manifests)
    folders = [Path(m["folder"]) for m in manifests]
    names = sorted({p.name for f in folders for p in f.glob("metrics/*") if p.is_dir()})
    left_out = [f"{m['experiment']}/{m['run']}" for m in lost]
    return Runs({name: _read(name, folders) for name in names}, manifests, left_out)


def _manifest(path: Path) -> dict[str, Any]:
    manifest = json.loads(path.read_text())
    if manifest.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{path} is of format {manifest['format']!r}, this version of trajlab knows format {FORMAT}; read it with the "
            "version that wrote it (versions.trajlab in the manifest)"
        )
    return {**manifest, "folder": str(path.parent)}


def _read(table: str, folders: Iterable[Path]) -> pd.DataFrame:
    parts = [p for folder in folders for p in sorted((folder / "metrics" / table).glob("part-*.parquet"))]
    frame = pa.concat_tables([_part(table, p) for p in parts], promote_options="default").to_pandas()
    keys = [c for c in ORDER_OF.get(table, ORDER) if c in frame]
    return frame.sort_values(keys, kind="stable", ignore_index=True)


def _part(table: str, path: Path) -> pa.Table:
    try:
        return as_expected(table, pq.read_table(path))
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e


def _refuse_mixed_data(manifests: list[dict[str, Any]]) -> None:
    """Runs of one experiment must share data unless the data is what was swept."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for manifest in manifests:
        group = (manifest["experiment"], without_seed(manifest["run"]))
        first = seen.setdefault(group, manifest)
        a, b = first.get("data", {}), manifest.get("data", {})
        if a.get("fingerprint") != b.get("fingerprint"):
            raise ValueError(
                f"{first['folder']} and {manifest['folder']} were trained on different data "
                f"({a.get('source')} [{a.get('fingerprint')}], {b.get('source')} [{b.get('fingerprint')}]) and can't be "
                "pooled; analyse them apart, or run one again with overwrite=true"
            )


def without_seed(run: str) -> str:
    """A run's name without its seed: ``lr=0.1,seed=3`` → ``lr=0.1``."""
    return ",".join(p for p in run.split(",") if not p.startswith("seed="))
