"""What a folder of averages says of itself: which checkpoints it is made of, by which rule.

It decides what may happen to a folder that stands where averages are to be written: the same averages are kept, other
averages of the same name may be replaced where the user says so, anything else stays as it is.
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trajlab.averaging.running import Rule
from trajlab.checkpoints.slices import CheckpointFiles
from trajlab.errors import UserError
from trajlab.store.layout import PROVENANCE

COMPARED = ("variant", "rule", "from_the_newest", "averages")
"""What two records of the same averages share, beside the names and sizes of the sources."""


def provenance(
    sources: Sequence[tuple[str, CheckpointFiles]],
    rule: Rule,
    name: str,
    last_only: bool,
    newest: Sequence[str],
    origin: dict[str, Any] | None,
) -> dict[str, Any]:
    """The record of the averages of a series, oldest checkpoint first."""
    labels = [label for label, _ in sources]
    averages = {}
    for n, label in enumerate(labels, start=1):
        if not last_only or n == len(labels):
            averages[label] = {a: w for a, w in zip(labels, rule.weights(n), strict=False) if w}
    return {
        "variant": name,
        "rule": repr(rule),
        "from_the_newest": ["integer tensors", *newest],
        "averages": averages,
        "sources": {label: {"path": str(files.path), "bytes": files.nbytes} for label, files in sources},
        "versions": {package: version(package) for package in ("torch", "safetensors")},
        **({"origin": origin} if origin else {}),
    }


def stored_provenance(folder: Path) -> dict[str, Any] | None:
    """The record in a folder; None where there is none that can be read."""
    try:
        record = json.loads((folder / PROVENANCE).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("averages"), dict) and "variant" in record
    return record if whole else None


def same_averages(folder: Path, wanted: dict[str, Any], sources: Sequence[tuple[str, CheckpointFiles]]) -> bool:
    """Whether a folder holds these averages already, of checkpoints that have not been written again since."""
    record = stored_provenance(folder)
    if record is None or any(record.get(key) != wanted[key] for key in COMPARED):
        return False
    sizes = [{label: s.get("bytes") for label, s in r.get("sources", {}).items()} for r in (record, wanted)]
    made = (folder / PROVENANCE).stat().st_mtime
    newer = any(file.stat().st_mtime > made for _, files in sources for file in files.files)
    return sizes[0] == sizes[1] and not newer and all((folder / label).exists() for label in wanted["averages"])


def refuse_other_content(folder: Path, name: str) -> None:
    """Raise UserError unless a folder holds averages of this name and nothing else."""
    record = stored_provenance(folder)
    if record is None or record["variant"] != name:
        there = f"averages named {record['variant']}" if record else f"no averages of trajlab ({PROVENANCE})"
        raise UserError(
            f"{folder} holds {there}; only averages named {name} are replaced: give another place or variant=…"
        )
    known = {PROVENANCE, *record["averages"]}
    if foreign := sorted(p.name for p in folder.iterdir() if p.name not in known):
        raise UserError(f"{folder} holds {foreign[0]} too, which is no average; move it away before overwrite=true")
