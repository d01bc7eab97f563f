"""What a reader has to keep in mind, computed from the runs, and the strip that says which runs these are."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from trajlab.analysis.load import Runs, without_seed

FEW_SEEDS = 6
"""Below this many seeds sign flips can't reach p = .05: 2/2⁵ is .0625."""


def status_strip(runs: Runs) -> list[tuple[str, str]]:
    """Runs, unfinished, diverged, data, commit, dates: name and value."""
    strip = [
        ("Runs", f"{len(runs.manifests) + len(set(diverged(runs)) - {_name(m) for m in runs.manifests}):,}"),
        ("Unfinished", f"{len(unfinished(runs)):,}"),
        ("Diverged", f"{len(diverged(runs)):,}"),
        (
            "Data",
            ", ".join(_known(str((m.get("data") or {}).get("source") or "") for m in runs.manifests)) or "unknown",
        ),
        (
            "Commit",
            ", ".join(c[:10] for c in _known(str(m.get("git_commit") or "") for m in runs.manifests)) or "unknown",
        ),
    ]
    dates = _known(str(m.get("finished") or m.get("started") or "")[:10] for m in runs.manifests)
    if dates:
        strip.append(("Trained", dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"))
    return [*strip, ("Report", datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"))]


def unfinished(runs: Runs) -> list[tuple[str, str]]:
    """Runs that haven't come to their end: experiment and run."""
    return [_name(m) for m in runs.manifests if m.get("status") == "running"]


def diverged(runs: Runs) -> list[tuple[str, str]]:
    """Runs that say so of themselves, or with a loss that isn't finite: experiment and run."""
    said = {_name(m) for m in runs.manifests if m.get("status") == "diverged"}
    said |= {(experiment, run) for experiment, _, run in (name.partition("/") for name in runs.diverged)}
    frame = runs.intervals
    if not frame.empty and "loss" in frame:
        bad = frame[~np.isfinite(frame["loss"].to_numpy(float))]
        said |= {(str(e), str(r)) for e, r in zip(bad["experiment"], bad["run"], strict=True)}
    return sorted(said)


def caveats(runs: Runs) -> list[str]:
    """A sentence for each thing that limits what these runs can show."""
    found = []
    if names := unfinished(runs):
        found.append(
            f"Unfinished: {_listed(names)}. Where a condition has finished seeds, the sections leave these out."
        )
    if names := diverged(runs):
        found.append(f"Diverged: {_listed(names)}. They are left out of all that follows.")
    found += _known(str((m.get("data") or {}).get("warning") or "") for m in runs.manifests)
    found += _few_seeds(runs)
    if any(
        (m.get("config") or {}).get("data", {}).get("source") == "auto"
        and str((m.get("data") or {}).get("source", "")).startswith("embedded")
        for m in runs.manifests
    ):
        found.append("The corpus that was asked for could not be had: these runs trained on the embedded one.")
    return list(dict.fromkeys(found))


def _few_seeds(runs: Runs) -> list[str]:
    groups: dict[tuple[str, str], int] = {}
    for m in runs.manifests:
        if m.get("seed") is not None:
            key = (str(m.get("experiment")), without_seed(str(m.get("run"))))
            groups[key] = groups.get(key, 0) + 1
    if not groups or min(groups.values()) >= FEW_SEEDS:
        return []
    least = min(groups.values())
    if least == 1:
        return ["One seed in some condition: nothing shows there how much of a difference is chance."]
    return [
        f"Few seeds ({least} in a condition): intervals are wide, and sign flips can't give a p below {2 / 2**least:.3g}; "
        f"{FEW_SEEDS} seeds reach .05."
    ]


def _name(manifest: Mapping[str, Any]) -> tuple[str, str]:
    return str(manifest.get("experiment")), str(manifest.get("run"))


def _known(values: Iterable[str]) -> list[str]:
    return sorted({v for v in values if v})


def _listed(names: list[tuple[str, str]], most: int = 5) -> str:
    return ", ".join("/".join(n) for n in names[:most]) + (
        f" and {len(names) - most} more" if len(names) > most else ""
    )
