"""What installed packages from outside add to the analysis, by entry points of their metadata.

Groups: `trajlab.claims`, each entry a `trajlab.analysis.claims.ClaimSet`; `trajlab.sections`, each a function
``section(runs) -> Section | None``. In the package's pyproject.toml::

    [project.entry-points."trajlab.sections"]
    surprises = "my_package.surprises:section"
"""

import warnings
from collections.abc import Callable, Container
from importlib.metadata import EntryPoint, entry_points
from typing import Any

CLAIMS, SECTIONS = "trajlab.claims", "trajlab.sections"


def plugged_in(group: str, fits: Callable[[Any], bool], expected: str, taken: Container[str] = ()) -> dict[str, Any]:
    """What the entry points of ``group`` name, in order of their names.

    An entry that can't be imported, that does not fit (``expected`` says in words what would) or whose name is ``taken`` is
    left out with one warning that names it.
    """
    found: dict[str, Any] = {}
    for entry in sorted(entry_points(group=group), key=lambda e: (e.name, e.value)):
        if entry.name in taken or entry.name in found:
            leave_out(entry, "its name is taken; give the entry point another")
            continue
        try:
            loaded = entry.load()
        except Exception as e:  # whatever a package from outside does wrong, the report goes on without it
            leave_out(entry, f"{type(e).__name__}: {e}")
            continue
        if fits(loaded):
            found[entry.name] = loaded
        else:
            leave_out(entry, f"it is a {type(loaded).__name__}, not {expected}")
    return found


def leave_out(entry: EntryPoint, reason: str) -> None:
    """The warning about an entry point that is left out."""
    package = f" of package {entry.dist.name}" if entry.dist else ""
    warnings.warn(
        f"entry point {entry.name} = {entry.value} [{entry.group}]{package} is left out: {reason}", stacklevel=3
    )
