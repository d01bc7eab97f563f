"""Is a series what it says? Findings of ``task=audit``, tables `tensors`, and checkpoints that were left out."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section

SHOWN_TENSORS = 8
"""Tensors of an audit that its table shows: those that moved furthest from the first checkpoint, by their own norm."""


def section(runs: Runs) -> Section | None:
    """Findings, left out checkpoints, equal weights, how far tensors moved; None where nothing was audited or left out."""
    part = Section("Is the series what it says?")
    for manifest in runs.manifests:
        _findings(part, manifest)
        _left_out(part, manifest)
    tensors = runs.table("tensors")
    if not tensors.empty:
        for (experiment, run), rows in tensors.groupby(["experiment", "run"], sort=False):
            _tensors(part, f"{experiment}/{run}", rows)
    return part if part.blocks else None


def _name(manifest: Mapping[str, Any]) -> str:
    return f"{manifest.get('experiment')}/{manifest.get('run')}"


def _findings(part: Section, manifest: Mapping[str, Any]) -> None:
    if "faults" not in manifest:
        return
    faults = manifest["faults"] or []
    if not faults:
        part.text(f"{_name(manifest)}: audited, no fault found.")
        return
    part.problem(f"{_name(manifest)}: {len(faults)} fault{'s' if len(faults) > 1 else ''} found by task=audit.")
    rows = [
        {
            "kind": f.get("kind"),
            "checkpoints": ", ".join(f.get("revisions") or ()),
            "finding": f.get("words"),
            "tensors": ", ".join((f.get("tensors") or ())[:3]) + (" …" if len(f.get("tensors") or ()) > 3 else ""),
        }
        for f in faults
    ]
    part.table(pd.DataFrame(rows), f"Findings in {_name(manifest)}.")


def _left_out(part: Section, manifest: Mapping[str, Any]) -> None:
    if broken := manifest.get("broken"):
        named = ", ".join(str(b.get("revision")) for b in broken)
        part.problem(f"{_name(manifest)}: left out, because they can't be opened (skip_broken): {named}.")
        rows = [{"checkpoint": b.get("revision"), "step": b.get("step"), "why": b.get("why")} for b in broken]
        part.table(pd.DataFrame(rows), f"Checkpoints of {_name(manifest)} that nothing below holds.")
    for group in manifest.get("duplicates") or ():
        part.problem(f"{_name(manifest)}: {', '.join(map(str, group))} have the very same weights.")


def _tensors(part: Section, name: str, rows: pd.DataFrame) -> None:
    """The last checkpoint against the first: each tensor's distance by its norm there."""
    rows = rows.sort_values("interval", kind="stable")
    last = rows.groupby("tensor", sort=False).last()
    first = rows.groupby("tensor", sort=False)["norm"].first()
    moved = (last["distance_first"] / first.where(first > 0)).rename("moved")
    table = pd.DataFrame(
        {"tensor": last.index, "first_norm": first.to_numpy(), "last_norm": last["norm"], "moved": moved}
    )
    table = table.dropna(subset="moved").sort_values("moved", ascending=False, kind="stable").head(SHOWN_TENSORS)
    if not table.empty:
        part.table(
            table.reset_index(drop=True),
            f"{name}: {rows['tensor'].nunique():,} tensors at {rows['interval'].nunique()} checkpoints; those that moved "
            "furthest, as distance between first and last checkpoint by the first norm.",
            folded=True,
        )
