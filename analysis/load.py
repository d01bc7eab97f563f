"""The reader of run stores: folders of Parquet in, one frame a table out.

`load_runs` takes a run's folder, an experiment's, or any folder above. What the tables hold stands in docs/tables.md.
"""

import difflib
import json
import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trajlab.analysis.manifests import Manifest, window_overlaps
from trajlab.analysis.tables import COLUMNS, FORMAT, ORDER, ORDER_OF, as_expected

SHOWN = 5
"""Unfinished runs that a warning names."""


@dataclass(frozen=True, repr=False)
class Runs:
    """The stored runs of a folder. A table that no run has is an empty frame."""

    tables: dict[str, pd.DataFrame]
    manifests: list[dict[str, Any]] = field(default_factory=list)
    """One a run: status, configuration, data, parameters, versions; with ``folder``."""
    problems: list[str] = field(default_factory=list)
    """A sentence for each run that lies there too and can't be read."""
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
        return Runs(tables, manifests, self.problems, self.diverged)

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
            name: f[~pd.MultiIndex.from_frame(f[["experiment", "run"]]).isin(gone)].reset_index(drop=True)
            if {"experiment", "run"} <= set(f)
            else f
            for name, f in self.tables.items()
        }
        manifests = [m for m in self.manifests if (m.get("experiment"), m.get("run")) not in gone]
        return Runs(tables, manifests, self.problems, self.diverged)

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
            intervals=("interval", "nunique"),
            tokens=("tokens", "max"),
            lowest_loss=("loss", "min"),
            final_loss=("loss", "last"),
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
        flat = [
            pd.json_normalize(m.get("config") or {}).assign(experiment=m.get("experiment"), run=m.get("run"))
            for m in self.manifests
        ]
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
            {
                f"{m['data'].get('source')} [{str(m['data'].get('fingerprint'))[:8]}]"
                for m in self.manifests
                if m.get("data")
            }
        )
        count = f"{len(self.manifests)} run{'s' if len(self.manifests) != 1 else ''}"
        going = f", {len(self.unfinished)} not finished" if self.unfinished else ""
        without = f" · left out, since diverged: {', '.join(self.diverged)}" if self.diverged else ""
        return f"{', '.join(sources) or 'unknown data'} · {count}{going}{without}"

    @property
    def unfinished(self) -> list[str]:
        """Folders of the runs whose manifest says that they are still going or were interrupted."""
        return [str(m.get("folder", m.get("run"))) for m in self.manifests if m.get("status", "finished") != "finished"]

    def entropy_floor(self, split: str) -> float | None:
        """Nats per token that no model can beat, where all runs know the same one."""
        floors = {((m.get("data") or {}).get("entropy_floor") or {}).get(split) for m in self.manifests}
        return floors.pop() if len(floors) == 1 else None


def load_runs(path: Path | str, *, finished_only: bool = False, diverged: bool = False) -> Runs:
    """All runs at or below ``path`` that can be read; a warning, and a line in `Runs.problems`, names each that can't.

    Runs that diverged are left out and named in `Runs.diverged`, unless ``diverged``: a mean over them means nothing.
    Unfinished runs are among them, unless ``finished_only``, with a warning that names them.

    A run can't be read where its manifest is broken or of a format that this version doesn't know, and where a part of a
    table is broken or has a column of another type than docs/tables.md says. Raises FileNotFoundError where there is no run
    at all, ValueError where none can be read, and where runs of one experiment were trained on different data: their curves
    must not be pooled.
    """
    manifests, tables, problems, lost = [], [], [], []
    for file in _manifest_files(Path(path)):
        try:
            manifest = _manifest(file)
            if finished_only and manifest.get("status", "finished") != "finished":
                continue
            if manifest.get("status") == "diverged" and not diverged:
                lost.append(f"{manifest['experiment']}/{manifest['run']}")
                continue
            parts = _tables(file.parent)
        except ValueError as e:
            problems.append(str(e))
            warnings.warn(f"left out: {e}", stacklevel=2)
            continue
        manifests.append(manifest)
        tables.append(parts)
    if not manifests:
        if lost:
            raise FileNotFoundError(
                f"{path}: every run stored here has diverged; load_runs(…, diverged=True) reads them"
            )
        if problems:
            raise ValueError("\n".join(problems))
        raise FileNotFoundError(f"{path}: no run is stored here; a run's folder holds a manifest.json")
    _refuse_mixed_data(manifests)
    names = sorted({name for parts in tables for name in parts})
    frames = {name: _frame(name, [p for parts in tables for p in parts.get(name, [])]) for name in names}
    if "intervals" in frames:
        frames["intervals"] = _with_overlap(frames["intervals"], manifests)
    runs = Runs(frames, manifests, problems, lost)
    _warn_of_unfinished(runs)
    return runs


def _warn_of_unfinished(runs: Runs) -> None:
    if not runs.unfinished:
        return
    count = f"{len(runs.unfinished)} of {len(runs.manifests)} runs {'is' if len(runs.unfinished) == 1 else 'are'}"
    warnings.warn(
        f"{count} not finished: {', '.join(runs.unfinished[:SHOWN])}; their curves end early. finished_only=True leaves "
        "them out",
        stacklevel=3,
    )


def _with_overlap(intervals: pd.DataFrame, manifests: Iterable[Manifest]) -> pd.DataFrame:
    """With ``window_overlap``: how many validation windows in a row share text, where manifests say it."""
    known = {
        (m["experiment"], m["run"], split): overlap for m in manifests for split, overlap in window_overlaps(m).items()
    }
    if not known or not {"experiment", "run", "split"} <= set(intervals.columns):
        return intervals
    rows = zip(intervals["experiment"], intervals["run"], intervals["split"], strict=True)
    overlaps = pd.array([known.get(row) for row in rows], dtype="Int64")
    return intervals.assign(window_overlap=overlaps)


def _manifest_files(root: Path) -> list[Path]:
    """The manifests at or below a folder; hidden folders hold what is being replaced."""
    found = sorted(root.rglob("manifest.json"))
    return [f for f in found if not any(part.startswith(".") for part in f.relative_to(root).parts)]


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
    except (ValueError, OSError) as e:
        raise ValueError(f"{path} can't be read ({e}); restore it, or remove the run's folder") from e
    texts = ("experiment", "run", "status")
    if not isinstance(manifest, dict) or not all(isinstance(manifest.get(key), str) for key in texts):
        raise ValueError(f"{path} is no manifest of a run ({', '.join(texts)}); restore it, or remove the run's folder")
    if strange := [k for k in ("config", "data") if not isinstance(manifest.get(k) or {}, dict)]:
        raise ValueError(f"{path}: {strange[0]} is no mapping; restore the manifest, or remove the run's folder")
    if manifest.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{path} is of format {manifest['format']!r}, this version of trajlab knows format {FORMAT}; read it with the "
            "version that wrote it (versions.trajlab in the manifest)"
        )
    return {**manifest, "folder": str(path.parent)}


WHOSE, WHICH = ("experiment", "run"), ("variant", "split")
"""Without these columns nobody knows whose rows a part holds; losses also need which weights on which split."""
PART = re.compile(r"part-\d{5,}(\..+)?\.parquet")
"""The parts of a table, as `trajlab.store.layout` names them; whatever else lies in a table's folder is nobody's."""


def _tables(run: Path) -> dict[str, list[pa.Table]]:
    """The parts of a run's tables in the order of their names, by table."""
    found: dict[str, list[pa.Table]] = {}
    for part in sorted((run / "metrics").glob("*/part-*.parquet")):
        if PART.fullmatch(part.name) and part.is_file():
            found.setdefault(part.parent.name, []).append(_part(part.parent.name, part))
    return found


def _frame(table: str, parts: Sequence[pa.Table]) -> pd.DataFrame:
    frame = pa.concat_tables(parts, promote_options="default").to_pandas()
    keys = [c for c in ORDER_OF.get(table, ORDER) if c in frame]
    return frame.sort_values(keys, kind="stable", ignore_index=True)


def _part(table: str, path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:  # read_table goes through a data set, which costs five times as much
            rows = as_expected(table, file.read())
    except (ValueError, OSError) as e:
        raise ValueError(f"{path}: {str(e).splitlines()[0]}") from e
    known = COLUMNS.get(table, {})
    needed: tuple[str, ...] = () if not known else WHOSE + WHICH if "variant" in known else WHOSE
    if absent := [column for column in needed if column not in rows.column_names]:
        raise ValueError(f"{path}: it lacks the column {absent[0]}; restore it, or remove the run's folder")
    return rows


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
