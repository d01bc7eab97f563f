"""The reader of run stores: folders of Parquet in, one frame a table out.

`load_runs` takes a run's folder, an experiment's, or any folder above. What the tables hold stands in docs/tables.md.
"""

import difflib
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trajlab.analysis.tables import FORMAT, ORDER, ORDER_OF, as_expected


Read = TypeVar("Read")


@dataclass(frozen=True, repr=False)
class Runs:
    """The stored runs of a folder. A table that no run has is an empty frame."""

    tables: dict[str, pd.DataFrame]
    manifests: list[dict[str, Any]] = field(default_factory=list)
    """One a run: status, configuration, data, parameters, versions; with ``folder``."""
    problems: list[str] = field(default_factory=list)
    """What could not be read and was left out (`load_runs` with ``skip_broken``)."""

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
        """The runs whose rows hold these values, e.g. ``variant="raw"``; tables without the column stay whole.

        Raises ValueError for a column that no table and no manifest has, and for values that select nothing.
        """
        for column, value in values.items():
            self._refuse_unknown(column, value)
        tables = dict(self.tables)
        for name, frame in tables.items():
            for column, value in values.items():
                if column in frame:
                    frame = frame[frame[column] == value]
            tables[name] = frame.reset_index(drop=True)
        manifests = [m for m in self.manifests if all(m.get(k, v) == v for k, v in values.items())]
        return Runs(tables, manifests, self.problems)

    def _refuse_unknown(self, column: str, value: object) -> None:
        holders = [f[column] for f in self.tables.values() if column in f]
        told = [m[column] for m in self.manifests if column in m]
        if not holders and not told:
            names = sorted({str(c) for f in self.tables.values() for c in f} | {"experiment", "run", "seed", "status"})
            close = difflib.get_close_matches(column, names, 3)
            hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(names)}"
            raise ValueError(f"select({column}=…): no table has a column {column}; {hint}")
        if not any((h == value).any() for h in holders) and value not in told:
            present = {repr(v) for h in holders for v in h.dropna().unique()[:20]} | {repr(v) for v in told}
            raise ValueError(f"select({column}={value!r}) selects nothing; there are {', '.join(sorted(present)[:20])}")

    def without(self, runs: Collection[tuple[str, str]]) -> "Runs":
        """All but these runs, each named by its experiment and its run."""
        gone = set(runs)
        tables = {
            name: f[[key not in gone for key in zip(f["experiment"], f["run"], strict=True)]].reset_index(drop=True)
            if {"experiment", "run"} <= set(f)
            else f
            for name, f in self.tables.items()
        }
        manifests = [m for m in self.manifests if (m.get("experiment"), m.get("run")) not in gone]
        return Runs(tables, manifests, self.problems)

    @property
    def summary(self) -> pd.DataFrame:
        """A row per run: experiment, run, status, intervals, tokens, lowest and final loss of the raw weights."""
        told = pd.DataFrame([{k: m.get(k) for k in ("experiment", "run", "seed", "status")} for m in self.manifests])
        if told.empty or not {"variant", "split", "loss", "tokens"} <= set(self.intervals):
            return told
        raw = self.intervals[self.intervals["variant"] == "raw"]
        raw = raw[raw["split"] == ("valid" if (raw["split"] == "valid").any() else raw["split"].min())]
        by = raw.sort_values("tokens").groupby(["experiment", "run"])
        curves = by.agg(
            intervals=("interval", "nunique"), tokens=("tokens", "max"), lowest_loss=("loss", "min"), final_loss=("loss", "last")
        )
        return told.merge(curves.reset_index(), on=["experiment", "run"], how="left")

    @property
    def conditions(self) -> pd.DataFrame:
        """A row per condition: experiment, whatever was swept as columns of its own, seeds, mean lowest and final loss."""
        rows = self.summary
        if rows.empty:
            return rows
        swept = pd.DataFrame([swept_values(run) for run in rows["run"]], index=rows.index)
        keys = ["experiment", *swept.columns]
        by = pd.concat([rows, swept], axis=1).groupby(keys, dropna=False, sort=False)
        means = [c for c in ("lowest_loss", "final_loss") if c in rows]
        return pd.concat([by.size().rename("seeds"), by[means].mean()], axis=1).reset_index()

    @property
    def configs(self) -> pd.DataFrame:
        """A row per run: its whole configuration, a column for each key (``optimizer.lr``)."""
        flat = [pd.json_normalize(m.get("config") or {}).assign(experiment=m.get("experiment"), run=m.get("run")) for m in self.manifests]
        if not flat:
            return pd.DataFrame()
        frame = pd.concat(flat, ignore_index=True)
        return frame[["experiment", "run", *(c for c in frame if c not in ("experiment", "run"))]]

    def __repr__(self) -> str:
        shown = self.summary.to_string(index=False, max_rows=20, float_format="{:.4f}".format) if self.manifests else ""
        tables = ", ".join(f"{name} ({len(f):,})" for name, f in self.tables.items())
        return "\n".join(line for line in (self.caption, shown, f"tables: {tables or 'none'}", *self.problems) if line)

    @property
    def caption(self) -> str:
        """The data behind the runs and how many there are, for figures and reports."""
        sources = sorted(
            {f"{m['data'].get('source')} [{str(m['data'].get('fingerprint'))[:8]}]" for m in self.manifests if m.get("data")}
        )
        count = f"{len(self.manifests)} run{'s' if len(self.manifests) != 1 else ''}"
        return f"{', '.join(sources) or 'unknown data'} · {count}"

    def entropy_floor(self, split: str) -> float | None:
        """Nats per token that no model can beat, where all runs know the same one."""
        floors = {((m.get("data") or {}).get("entropy_floor") or {}).get(split) for m in self.manifests}
        return floors.pop() if len(floors) == 1 else None


def load_runs(path: Path | str, *, finished_only: bool = False, skip_broken: bool = False) -> Runs:
    """All runs at or below ``path``.

    Raises FileNotFoundError where there is none, ValueError where a run is of a format that this version doesn't know, a file
    can't be read or has a column of another type than docs/tables.md says, and where runs of one experiment were trained on
    different data: their curves must not be pooled. With ``skip_broken`` the run (or the table of that run) is left out
    instead, and `Runs.problems` says which and why.
    """
    problems: list[str] | None = [] if skip_broken else None
    paths = sorted(Path(path).rglob("manifest.json"))
    manifests = [m for m in (_or_problem(problems, _manifest, p) for p in paths) if m is not None]
    if finished_only:
        manifests = [m for m in manifests if m["status"] == "finished"]
    if not manifests and not problems:
        raise FileNotFoundError(f"{path}: no run is stored here; a run's folder holds a manifest.json")
    manifests = _of_one_data(manifests, problems)
    folders = [Path(m["folder"]) for m in manifests]
    names = sorted({p.name for f in folders for p in f.glob("metrics/*") if any(p.glob("part-*.parquet"))})
    tables = {name: _read(name, folders, problems) for name in names}
    return Runs(tables, manifests, problems or [])


def _or_problem(problems: list[str] | None, read: Callable[..., Read], *arguments: object) -> Read | None:
    """What ``read`` gives; None where it fails and problems are collected."""
    try:
        return read(*arguments)
    except ValueError as e:
        if problems is None:
            raise
        problems.append(f"{e}. It is left out.")
        return None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ValueError(f"{path} can't be read ({e}); move the run's folder away or make the run again") from e
    if not isinstance(manifest, dict) or not all(isinstance(manifest.get(k), str) for k in ("experiment", "run")):
        raise ValueError(f"{path} doesn't say which experiment and run it is of; move the run's folder away")
    if manifest.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{path} is of format {manifest['format']!r}, this version of trajlab knows format {FORMAT}; read it with the "
            "version that wrote it (versions.trajlab in the manifest)"
        )
    return {**manifest, "folder": str(path.parent)}


def _read(table: str, folders: Iterable[Path], problems: list[str] | None = None) -> pd.DataFrame:
    runs = [_or_problem(problems, _run_rows, table, folder) for folder in folders]
    whole = [rows for rows in runs if rows is not None]
    if not whole:
        return pd.DataFrame()
    frame = pa.concat_tables(whole, promote_options="default").to_pandas()
    keys = [c for c in ORDER_OF.get(table, ORDER) if c in frame]
    return frame.sort_values(keys, kind="stable", ignore_index=True)


def _run_rows(table: str, folder: Path) -> pa.Table | None:
    """All rows of a run's table; one part that can't be read costs that table of that run, whose curve would have a hole."""
    parts = [_part(table, p) for p in sorted((folder / "metrics" / table).glob("part-*.parquet"))]
    return pa.concat_tables(parts, promote_options="default") if parts else None


def _part(table: str, path: Path) -> pa.Table:
    try:
        return as_expected(table, pq.read_table(path))
    except (ValueError, OSError) as e:
        raise ValueError(f"{path}: {e}") from e


def _of_one_data(manifests: list[dict[str, Any]], problems: list[str] | None) -> list[dict[str, Any]]:
    """Runs of one experiment must share data unless the data is what was swept."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    kept = []
    for manifest in manifests:
        group = (manifest["experiment"], without_seed(manifest["run"]))
        first = seen.setdefault(group, manifest)
        if _or_problem(problems, _same_data, first, manifest):
            kept.append(manifest)
    return kept


def _same_data(first: dict[str, Any], manifest: dict[str, Any]) -> bool:
    a, b = first.get("data") or {}, manifest.get("data") or {}
    if a.get("fingerprint") != b.get("fingerprint"):
        raise ValueError(
            f"{first['folder']} and {manifest['folder']} were trained on different data "
            f"({a.get('source')} [{a.get('fingerprint')}], {b.get('source')} [{b.get('fingerprint')}]) and can't be "
            "pooled; analyse them apart, or run one again with overwrite=true"
        )
    return True


def swept_values(run: str) -> dict[str, str | float]:
    """What a run's name says was swept beside the seed: ``seed=3,optimizer.lr=0.1`` → ``{"optimizer.lr": 0.1}``."""
    pairs = (p.partition("=") for p in run.split(",") if "=" in p)
    return {key: _value(text) for key, _, text in pairs if key != "seed"}


def _value(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def without_seed(run: str) -> str:
    """A run's name without its seed: ``lr=0.1,seed=3`` → ``lr=0.1``."""
    return ",".join(p for p in run.split(",") if not p.startswith("seed="))
