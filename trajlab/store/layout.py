"""The format of a run on disk: names of folders and files, keys of the manifest, the format's number.

Tables and their columns are in `trajlab.store.tables`. ``docs/tables.md`` says the same for people, and
``analysis/tables.py`` for the reader, which imports nothing of trajlab; a test holds the three together.
"""

import re
from collections.abc import Iterator
from pathlib import Path

FORMAT = 1
"""Number of the format, in every manifest. A manifest without one is older and is read all the same."""

MANIFEST = "manifest.json"
CONFIG = "config.yaml"
LOCK = ".lock"
WORKERS = ".workers"
CHECKPOINT = Path("checkpoints") / "last.ckpt"
PREVIOUS_CHECKPOINT = CHECKPOINT.with_name("previous.ckpt")
METRICS = "metrics"
SNAPSHOTS = "snapshots"
AVERAGES = "averages"
PROVENANCE = "provenance.json"

MANIFEST_KEYS = (
    "format",
    "experiment",
    "run",
    "seed",
    "status",
    "started",
    "finished",
    "resumed",
    "diverged",
    "config",
    "study",
    "model",
    "data",
    "averagers",
    "position_weighting",
    "mixtures",
    "series",
    "duplicates",
    "broken",
    "faults",
    "parameters",
    "versions",
    "git_commit",
    "threads",
    "compiled",
    "machine",
    "host",
)
"""Everything that a manifest may hold; docs/tables.md says what each is."""

MODEL_ENTRY, SHAPE_ENTRY = "model", "config"
"""Entries in a snapshot's metadata: class and arguments of its model; the shape alone, in snapshots of older runs."""


def part_path(run: Path, table: str, interval: int, suffix: str = "") -> Path:
    """The file of a table's rows at an interval; what is added to a run afterwards has a suffix."""
    return run / METRICS / table / f"part-{interval:05d}{suffix and '.'}{suffix}.parquet"


PART = re.compile(r"part-\d{5,}(\..+)?\.parquet")


def parts(run: Path, table: str = "*", name: str = "part-*.parquet") -> list[Path]:
    """The parts of a table, or of all, in the order of their names; whatever else lies there is nobody's."""
    return sorted(p for p in (run / METRICS).glob(f"{table}/{name}") if PART.fullmatch(p.name) and p.is_file())


def part_interval(part: Path) -> int:
    """The interval that a part belongs to."""
    return int(part.name.removeprefix("part-").split(".")[0])


def part_suffix(part: Path) -> str:
    """What follows the interval in a part's name; empty for what the run wrote itself."""
    return part.name.removesuffix(".parquet").partition(".")[2]


SNAPSHOT = re.compile(r"tokens=(\d+)\.safetensors")


def snapshot_path(run: Path, tokens: int) -> Path:
    """The file of the weights at a token count."""
    return run / SNAPSHOTS / f"tokens={tokens:012d}.safetensors"


def snapshots(run: Path) -> list[Path]:
    """A run's snapshots in the order of training."""
    return sorted(p for p in (run / SNAPSHOTS).glob("*.safetensors") if SNAPSHOT.fullmatch(p.name))


def snapshot_tokens(snapshot: Path) -> int:
    """The token count that a snapshot is named by."""
    found = SNAPSHOT.fullmatch(snapshot.name)
    if found is None:
        raise ValueError(f"{snapshot} isn't named as a snapshot is (tokens=000000001024.safetensors)")
    return int(found[1])


def averages_folder(run: Path, variant: str) -> Path:
    """Where the averages of a run's snapshots lie."""
    return run / AVERAGES / variant


def run_folders(root: Path) -> Iterator[Path]:
    """The runs at or below a folder, in order; hidden folders hold none (what is being replaced lies in one)."""
    found = (m.relative_to(root) for m in sorted(root.rglob(MANIFEST)))
    return (root / m.parent for m in found if not any(part.startswith(".") for part in m.parts))
