"""The reader of run stores: folders of Parquet in, one frame a table out.

`load_runs` takes a run's folder, an experiment's, or any folder above. What the tables hold stands in docs/tables.md.
"""

import json
import warnings
from collections.abc import Collection, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from trajlab.analysis.manifests import Manifest, window_overlaps
from trajlab.analysis.scan import scan
from trajlab.analysis.selection import choices, holds, refuse_unknown
from trajlab.analysis.stored_tables import Broken, StoredRun, StoredTables, rows_without
from trajlab.analysis.tables import FORMAT

if TYPE_CHECKING:
    import duckdb

SHOWN = 5
"""Unfinished runs that a warning names."""


@dataclass(frozen=True, repr=False)
class Runs:
    """The stored runs of a folder. A table that no run has is an empty frame.

    >>> runs = load_runs("runs/demo")
    >>> runs
    simulated [00000000] · 3 runs
    experiment    run  seed   status  intervals   tokens  lowest_loss  final_loss
          demo seed=0     0 finished         11 10000380       2.8059      3.9032
          demo seed=1     1 finished         11 10000380       2.7835      3.8501
          demo seed=2     2 finished         11 10000380       2.8308      3.9293
    tables: intervals (33)
    >>> round(float(runs.select(seed=1).intervals["loss"].min()), 4)
    2.7835
    >>> runs.select(sead=1)
    Traceback (most recent call last):
    ValueError: select(sead=…): no table has a column sead; did you mean seed?
    """

    tables: MutableMapping[str, pd.DataFrame]
    """By name; those of stored runs are read when they are first asked for."""
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
        """The runs whose rows hold these values, e.g. ``variant="raw"``, or one of several: ``seed=[0, 1]``.

        Tables without the column stay whole. Raises ValueError for a column that no table and no manifest has, and for
        values that select nothing.
        """
        for column, value in values.items():
            if not (wanted := choices(value)):
                raise ValueError(f"select({column}={value!r}) selects nothing: name at least one value")
            for one in wanted:
                refuse_unknown(column, one, self.tables, self.manifests)
        told = {k: v for k, v in values.items() if any(k in m for m in self.manifests)}
        kept = [m for m in self.manifests if all(k not in m or m[k] in choices(v) for k, v in told.items())]
        if isinstance(self.tables, StoredTables):
            among = {id(m) for m in kept}
            # manifest and rows of a stored run agree on whose they are
            return Runs(
                self.tables.where(lambda run: id(run.manifest) in among, values), kept, self.problems, self.diverged
            )
        tables = dict(self.tables)
        for name, frame in tables.items():
            for column, value in values.items():
                if column in frame:
                    frame = frame[holds(frame[column], value)]
            tables[name] = frame.reset_index(drop=True)
        return Runs(tables, kept, self.problems, self.diverged)

    def without(self, runs: Collection[tuple[str, str]]) -> "Runs":
        """All but these runs, each named by its experiment and its run."""
        gone = set(runs)
        manifests = [m for m in self.manifests if (m.get("experiment"), m.get("run")) not in gone]
        if isinstance(self.tables, StoredTables):
            return Runs(self.tables.where(lambda run: run.key not in gone, {}), manifests, self.problems, self.diverged)
        return Runs(
            {name: rows_without(f, gone) for name, f in self.tables.items()}, manifests, self.problems, self.diverged
        )

    def scan(self, table: str, connection: "duckdb.DuckDBPyConnection | None" = None) -> "duckdb.DuckDBPyRelation":
        """A stored table of any size as a relation of DuckDB, which reads what a query needs and no more.

        What `select` was given holds here too. Raises ImportError without DuckDB (``pip install trajlab[duckdb]``), and
        ValueError where no run has the table or the runs were not read from a folder.
        """
        return scan(self.tables, table, connection)

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
        tables = ", ".join(name if (n := self._rows(name)) is None else f"{name} ({n:,})" for name in self.tables)
        return "\n".join(line for line in (self.caption, shown, f"tables: {tables or 'none'}", *self.problems) if line)

    def _rows(self, table: str) -> int | None:
        return self.tables.rows(table) if isinstance(self.tables, StoredTables) else len(self.tables[table])

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

    A table is read when it is first asked for. In a folder of many parts (`CHECKED_PARTS`) a broken one shows only then:
    its run is left out from that moment on, with the same warning.

    Runs that diverged are left out and named in `Runs.diverged`, unless ``diverged``: a mean over them means nothing.
    Unfinished runs are among them, unless ``finished_only``, with a warning that names them.

    A run can't be read where its manifest is broken or of a format that this version doesn't know, and where a part of a
    table is broken or has a column of another type than docs/tables.md says. Raises FileNotFoundError where there is no run
    at all, ValueError where none can be read, and where runs of one experiment were trained on different data: their curves
    must not be pooled.

    >>> runs = load_runs("runs/demo")  # a run's folder, an experiment's, or any above
    >>> len(runs.manifests), len(runs.intervals)
    (3, 33)
    """
    found: list[StoredRun] = []
    problems: list[str] = []
    lost: list[str] = []
    for file in _manifest_files(Path(path)):
        try:
            manifest = _manifest(file)
        except ValueError as e:
            _leave_out(problems, e)
            continue
        if finished_only and manifest.get("status", "finished") != "finished":
            continue
        if manifest.get("status") == "diverged" and not diverged:
            lost.append(f"{manifest['experiment']}/{manifest['run']}")
            continue
        found.append(StoredRun.of(manifest))
    found = _checked(found, problems)
    if not found:
        if lost:
            raise FileNotFoundError(
                f"{path}: every run stored here has diverged; load_runs(…, diverged=True) reads them"
            )
        if problems:
            raise ValueError("\n".join(problems))
        raise FileNotFoundError(f"{path}: no run is stored here; a run's folder holds a manifest.json")
    manifests = [run.manifest for run in found]
    _refuse_mixed_data(manifests)
    tables = StoredTables(found, Broken(problems, manifests), partial(_with_overlap, list(manifests)))
    runs = Runs(tables, manifests, problems, lost)
    _warn_of_unfinished(runs)
    return runs


CHECKED_PARTS = 2000
"""Up to so many parts are opened at once to see that they are whole (0.1 ms each, their rows stay unread)."""


def _checked(runs: Sequence[StoredRun], problems: list[str]) -> list[StoredRun]:
    """The runs whose parts are whole, as far as that is seen without reading them; all of a large folder's."""
    if sum(run.count for run in runs) > CHECKED_PARTS:
        return list(runs)
    whole = []
    for run in runs:
        try:
            run.check()
        except ValueError as e:
            _leave_out(problems, e)
        else:
            whole.append(run)
    return whole


def _leave_out(problems: list[str], error: ValueError) -> None:
    problems.append(str(error))
    warnings.warn(f"left out: {error}", stacklevel=4)


def _warn_of_unfinished(runs: Runs) -> None:
    if not runs.unfinished:
        return
    count = f"{len(runs.unfinished)} of {len(runs.manifests)} runs {'is' if len(runs.unfinished) == 1 else 'are'}"
    warnings.warn(
        f"{count} not finished: {', '.join(runs.unfinished[:SHOWN])}; their curves end early. finished_only=True leaves "
        "them out",
        stacklevel=3,
    )


def _with_overlap(manifests: Iterable[Manifest], table: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Table `intervals` with ``window_overlap``: how many validation windows in a row share text, where manifests say it."""
    known = {
        (m["experiment"], m["run"], split): overlap for m in manifests for split, overlap in window_overlaps(m).items()
    }
    if table != "intervals" or not known or not {"experiment", "run", "split"} <= set(rows.columns):
        return rows
    keys = zip(rows["experiment"], rows["run"], rows["split"], strict=True)
    return rows.assign(window_overlap=pd.array([known.get(key) for key in keys], dtype="Int64"))


def _manifest_files(root: Path) -> list[Path]:
    """The manifests at or below a folder; hidden folders hold what is being replaced."""
    found = sorted(root.rglob("manifest.json"))
    return [f for f in found if not any(part.startswith(".") for part in f.relative_to(root).parts)]


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as e:
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
