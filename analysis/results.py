"""A study's stored runs made small enough to be published beside the code, and its page made from nothing else.

A published study is a folder::

    study.toml             what no table holds: question, commands, how it differs from the paper
    runs/<experiment>/<run>/manifest.json, metrics/<table>/part-….parquet
    README.md, report.html, main.svg
                           made by `rebuild` from the two above

`publish` fills ``runs``. Whatever a page says in numbers comes from the tables, so a page can't grow old beside them.
"""

import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trajlab.analysis.claims import claim_sets, judged, judged_experiments
from trajlab.analysis.load import Runs, load_runs
from trajlab.analysis.manifests import averages_lead
from trajlab.analysis.report import write_report
from trajlab.analysis.report.in_short import by_verdict, in_short
from trajlab.analysis.report.tables import markdown

LIMIT_BYTES = 5_000_000
"""A study's tables together: what a repository carries without harm. Larger ones name the tables to leave out."""

DESCRIPTION, PAGE, REPORT, FIGURE, RUNS = "study.toml", "README.md", "report.html", "main.svg", "runs"
MAIN = ("turn-*.svg", "series-*.svg")
"""The figure of the report that stands on the page: the curve with its turn, else the series."""
GAINED = "*_gain.svg"
"""What averages gained: before the others in a study of averaging."""
MARKER = "published.txt"
"""Beside the runs that `publish` wrote, and may therefore replace."""


@dataclass(frozen=True)
class Description:
    """What ``study.toml`` holds."""

    title: str
    question: str
    """One paragraph."""
    commands: tuple[str, ...]
    """As typed, from the first to the last."""
    differs: tuple[str, ...]
    """How what was run differs from the paper, and why; a sentence or two each."""
    corpus: str = ""
    """What the text is called, where the runs know it by its place on one machine; may be left out."""

    @classmethod
    def read(cls, path: Path) -> "Description":
        """Raises ValueError, naming the key, where one is missing or of another type."""
        try:
            held = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path} is missing; it says what the study asks and how it was run") from None
        except tomllib.TOMLDecodeError as e:
            raise ValueError(f"{path} is no TOML: {e}") from None
        texts = {key: _text(held, key, path) for key in ("title", "question")}
        lists = {key: _texts(held, key, path) for key in ("commands", "differs")}
        if "corpus" in held:
            texts["corpus"] = _text(held, "corpus", path)
        return cls(**texts, **lists)  # type: ignore[arg-type]


def _text(held: dict[str, Any], key: str, path: Path) -> str:
    if not isinstance(found := held.get(key), str) or not found.strip():
        raise ValueError(f"{path}: {key} must be a text, not {found!r}")
    return found.strip()


def _texts(held: dict[str, Any], key: str, path: Path) -> tuple[str, ...]:
    found = held.get(key)
    if not isinstance(found, list) or not found or not all(isinstance(t, str) for t in found):
        raise ValueError(f"{path}: {key} must be a list of texts, not {found!r}")
    return tuple(t.strip() for t in found)


def publish(
    runs: Path,
    study: Path,
    *,
    add: bool = False,
    leave_out: Collection[str] = (),
    decimals: Mapping[str, int] = MappingProxyType({}),
    limit_bytes: int = LIMIT_BYTES,
) -> int:
    """Copy the manifests and tables of all runs at or below ``runs`` into ``study/runs``; the number of bytes.

    A table becomes one part per run, the rows as they were; paths in manifests keep their last name alone. Weights and logs
    stay where they are. ``leave_out`` names tables that aren't published, ``decimals`` columns that are rounded (``tokens.nll``):
    the digits of a loss beyond the third are most of a large table's bytes. Both are written down beside the tables. What was published before is replaced at the end;
    with ``add`` only runs of the same names are, so that seeds which finish on different days or machines come together.
    Raises FileNotFoundError where there is no run, ValueError where a run isn't finished, where the tables are larger than
    ``limit_bytes``, naming the largest, where ``study.toml`` is missing and where ``study/runs`` is somebody else's.
    """
    found = sorted(p.parent for p in runs.rglob("manifest.json"))
    if not found:
        raise FileNotFoundError(f"there is no run below {runs}")
    Description.read(study / DESCRIPTION)
    if (study / RUNS).exists() and not (study / RUNS / MARKER).exists():
        raise ValueError(f"{study / RUNS} was not made by publish (it holds no {MARKER}); move it away first")
    with tempfile.TemporaryDirectory(dir=study, prefix=".publishing-") as aside:
        sizes: dict[str, int] = {}
        for run in found:
            for table, size in _publish_run(run, Path(aside), leave_out, decimals):
                sizes[table] = sizes.get(table, 0) + size
        told = [f"Left out: {t}." for t in leave_out]
        told += [f"Rounded: {column} to {places} decimals." for column, places in decimals.items()]
        if add:
            told = _keep_published(study / RUNS, Path(aside), sizes, told)
        if (total := sum(sizes.values())) > limit_bytes:
            by_size = ", ".join(f"{t} {s / 1e6:.1f} MB" for t, s in sorted(sizes.items(), key=lambda x: -x[1]))
            raise ValueError(
                f"{study}: {total / 1e6:.1f} MB of tables, over {limit_bytes / 1e6:g} MB: {by_size}; leave some out"
            )
        lines = ["Made by publish, which replaces this folder as a whole.", *told]
        (Path(aside) / MARKER).write_text("\n".join(lines) + "\n", encoding="utf-8")
        shutil.rmtree(study / RUNS, ignore_errors=True)
        Path(aside).chmod(0o755)  # temporary folders are their owner's alone
        Path(aside).rename(study / RUNS)
        Path(aside).mkdir()  # for the context manager to remove
    return total


def _keep_published(published: Path, aside: Path, sizes: dict[str, int], told: list[str]) -> list[str]:
    """Copy the published runs that ``aside`` lacks to it, and add their bytes to ``sizes``; what is told of both, each once."""
    if not published.exists():
        return told
    for run in sorted(p.parent.relative_to(published) for p in published.rglob("manifest.json")):
        if not (aside / run).exists():
            shutil.copytree(published / run, aside / run)
            for part in (aside / run / "metrics").rglob("*.parquet"):
                sizes[part.parent.name] = sizes.get(part.parent.name, 0) + part.stat().st_size
    return list(dict.fromkeys([*_changes(published), *told]))


def _changes(published: Path) -> list[str]:
    """What `publish` left out or rounded, as it wrote it down."""
    return (published / MARKER).read_text(encoding="utf-8").splitlines()[1:]


def _publish_run(
    run: Path, to: Path, leave_out: Collection[str], decimals: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    if manifest.get("status") == "running":
        raise ValueError(f"{run} isn't finished; a published study holds whole runs")
    folder = to / str(manifest["experiment"]) / str(manifest["run"])
    folder.mkdir(parents=True)
    text = json.dumps(_without_places(manifest), indent=1, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
    for table in sorted(p for p in (run / "metrics").glob("*") if p.is_dir() and p.name not in leave_out):
        parts = [pq.read_table(p) for p in sorted(table.glob("part-*.parquet"))]
        if not parts:
            continue
        file = folder / "metrics" / table.name / "part-00000.parquet"
        file.parent.mkdir(parents=True)
        rows = pa.concat_tables(parts, promote_options="default")
        for place, name in enumerate(rows.column_names):
            if (places := decimals.get(f"{table.name}.{name}")) is not None:
                rows = rows.set_column(place, rows.field(place), _rounded(rows[name], places))
        pq.write_table(rows, file, compression="zstd", compression_level=19)
        yield table.name, file.stat().st_size


def _rounded(column: pa.ChunkedArray, places: int) -> pa.Array:
    """Numbers, or lists of them, with so many decimals."""
    held = column.combine_chunks()
    if pa.types.is_list(held.type):
        return pa.ListArray.from_arrays(held.offsets, pc.round(held.values, places), mask=held.is_null())
    return pc.round(held, places)


ABSOLUTE = re.compile(r"^(/|~/|[A-Za-z]:[\\/])")


def _without_places(value: Any) -> Any:
    """The same with every absolute path cut to its last name: where something lay on the machine is nobody's business."""
    if isinstance(value, dict):
        return {k: _without_places(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_places(v) for v in value]
    return PurePosixPath(value.replace("\\", "/")).name if isinstance(value, str) and ABSOLUTE.match(value) else value


def studies(results: Path) -> list[Path]:
    """The published studies in a folder, or that folder itself where it is one. Raises FileNotFoundError without one."""
    found = (
        [results] if (results / DESCRIPTION).exists() else sorted(p.parent for p in results.glob(f"*/{DESCRIPTION}"))
    )
    if not found:
        raise FileNotFoundError(f"there is no {DESCRIPTION} in {results} or a folder in it")
    return found


def rebuild(study: Path) -> Path:
    """Make README.md, report.html and main.svg of a published study anew; the path of README.md."""
    runs = load_runs(study / RUNS)
    text = page(study, runs)
    with tempfile.TemporaryDirectory() as aside:
        report = write_report(runs, aside, Description.read(study / DESCRIPTION).title)
        shutil.copyfile(report, study / REPORT)
        patterns = (GAINED, *MAIN) if any(averages_lead([m]) for m in runs.manifests) else MAIN
        figures = (f for pattern in patterns for f in sorted((report.parent / "figures").glob(pattern)))
        if (figure := next(figures, None)) is not None:
            shutil.copyfile(figure, study / FIGURE)
    (study / PAGE).write_text(text, encoding="utf-8")
    return study / PAGE


def page(study: Path, runs: Runs) -> str:
    """The text of README.md: question, answer, commands, what was run, cost, differences, all claims. The runs learn what their text is called."""
    told = Description.read(study / DESCRIPTION)
    _call(runs, told.corpus)
    judged = dict(_judged(runs))
    parts = [
        f"# {told.title}\n\n{told.question}",
        *_answer(runs, judged),
        f"The whole report is [report.html]({REPORT}), one file to open in a browser.",
        "## What was run\n\n```bash\n" + "\n".join(told.commands) + f"\n```\n\n{markdown(_conditions(runs))}",
        f"{runs.caption[0].upper()}{runs.caption[1:]}. {_cost(runs)}{_resumed(runs)}{_changed(study)} "
        "The lowest loss is the mean of each seed's own lowest.",
        "## What differs from the paper\n\n" + "\n".join(f"- {d}" for d in told.differs),
        *(_claims(experiment, reading, table) for experiment, (reading, table) in judged.items()),
        f"## To rebuild this page\n\n`python -m trajlab.analysis results {study.parent.name}/{study.name}` reads `runs/` and "
        f'`{DESCRIPTION}` alone. To read the tables: `load_runs("{study.parent.name}/{study.name}/runs")`.',
    ]
    return "\n\n".join(p.strip() for p in parts) + "\n"


def _conditions(runs: Runs) -> pd.DataFrame:
    """A row per condition; of checkpoints that somebody else trained a row per series."""
    rows = runs.summary
    if rows["seed"].isna().all():
        return rows.drop(columns=["seed", "status"])
    sizes = rows.groupby("experiment")[[c for c in ("intervals", "tokens") if c in rows]].max()
    return runs.conditions.merge(sizes.reset_index(), on="experiment", how="left")


SECONDS = ("seconds_train", "seconds_eval", "seconds_load")


def _cost(runs: Runs) -> str:
    """Core hours of training and evaluation, as the rows tell them."""
    rows = runs.intervals if (checkpoints := runs.table("checkpoints")).empty else checkpoints
    if rows.empty:
        return ""
    once = rows.drop_duplicates(["experiment", "run", "interval"]).groupby(["experiment", "run"])
    spent = once[[c for c in SECONDS if c in rows]].sum().sum(axis=1)
    threads = {(m["experiment"], m["run"]): m.get("threads") or 1 for m in runs.manifests}
    hours = sum(total * threads[run] for run, total in spent.items()) / 3600
    return f"It took {hours:.1f} core hours (threads × seconds by the clock, with other work on the machine)."


def _resumed(runs: Runs) -> str:
    times = [len(m.get("resumed") or []) for m in runs.manifests]
    if not any(times):
        return ""
    return f" {sum(t > 0 for t in times)} of {len(times)} runs were interrupted and went on, {sum(times)} times in all."


def _changed(study: Path) -> str:
    """What `publish` left out or rounded."""
    changes = _changes(study / RUNS)
    return f" {' '.join(changes)}" if changes else ""


def _call(runs: Runs, corpus: str) -> None:
    """Let the runs call their text by its name, where there is one: in captions and in the strip above the report."""
    for manifest in runs.manifests:
        if corpus and manifest.get("data"):
            manifest["data"]["source"] = corpus


def _judged(runs: Runs) -> Iterator[tuple[str, tuple[str, pd.DataFrame]]]:
    """Of each experiment with published claims: where they are from and how they are read, and their table."""
    for name, claims in claim_sets().items():
        for experiment in judged_experiments(runs, name, claims):
            table = judged(runs.select(experiment=experiment), name, claims)
            if not table.empty:
                yield experiment, (f"{claims.source}. {claims.reading}", table)


def _answer(runs: Runs, claims: Mapping[str, tuple[str, pd.DataFrame]]) -> list[str]:
    """What came out, in sentences, and the published claims by verdict."""
    told = in_short(runs)
    if not told:
        return []
    several = len(told) > 1
    parts = [f"**{name}.** {' '.join(said)}" if several else " ".join(said) for name, said in told.items()]
    for experiment, (_, table) in claims.items():
        of = f" on {experiment}" if len(claims) > 1 else ""
        lines = "\n".join(f"- {line}" for line in by_verdict(table))
        parts.append(
            f"The published claims{of}, [all with their numbers](#the-published-claims-{experiment}):\n\n{lines}"
        )
    first = next(iter(told.values()))[0].replace("[", "").replace("]", "")
    return ["## The answer", *parts[: len(told)], f"![{first}]({FIGURE})", *parts[len(told) :]]


def _claims(experiment: str, reading: str, table: pd.DataFrame) -> str:
    return f"## The published claims: {experiment}\n\n{reading}\n\n{markdown(table)}"
