"""The contents of the report: its sections in order, and those of installed packages after them.

A section is a function ``section(runs) -> Section | None``, None where the runs don't hold what it needs. A new one is a file
of `trajlab.analysis.report.sections` and its line in `CONTENTS`, or, in a package from outside, an entry point of the group
`trajlab.sections`.
"""

import warnings
from collections.abc import Callable

from trajlab.analysis.load import Runs
from trajlab.analysis.plugins import SECTIONS, plugged_in
from trajlab.analysis.report.section import Section
from trajlab.analysis.report.sections import (
    audit,
    averaging,
    claims,
    curves,
    diminishing_returns,
    forecasts,
    position_weighting,
    registered_forecasts,
    repeated_measures,
    sequences,
    series,
    stability,
    target_times,
    task_curves,
    task_items,
    temporal,
    token_trends,
)

CONTENTS: tuple[Callable[[Runs], Section | None], ...] = (
    curves.section,
    stability.section,
    repeated_measures.section,
    diminishing_returns.section,
    target_times.section,
    temporal.section,
    forecasts.section,
    registered_forecasts.section,
    position_weighting.section,
    audit.section,
    series.section,
    token_trends.section,
    sequences.section,
    task_curves.section,
    task_items.section,
    averaging.section,
    claims.section,
)
"""trajlab's own sections, in the order of the report."""


def sections(runs: Runs) -> list[Section]:
    """All sections that these runs support, in order; those from outside last, by the names of their entry points."""
    built = [_own(section, runs) for section in CONTENTS]
    built += [_outside(name, section, runs) for name, section in plugged_in(SECTIONS, callable, "a function").items()]
    return [s for s in built if s is not None]


def _own(section: Callable[[Runs], Section | None], runs: Runs) -> Section | None:
    """The section, or a box in its place: a table that some program broke must not cost the rest of the report."""
    try:
        return section(runs)
    except Exception as e:
        name = section.__module__.rsplit(".", 1)[-1].replace("_", " ")
        part = Section(name.capitalize())
        part.problem(f"This section could not be made: {type(e).__name__}: {e}")
        return part


def _outside(name: str, section: Callable[[Runs], object], runs: Runs) -> Section | None:
    """The section of a package from outside; one that fails costs a warning, not the report."""
    try:
        built = section(runs)
    except Exception as e:
        warnings.warn(f"section {name} [{SECTIONS}] is left out: {type(e).__name__}: {e}", stacklevel=3)
        return None
    if built is None or isinstance(built, Section):
        return built
    warnings.warn(
        f"section {name} [{SECTIONS}] is left out: it gave a {type(built).__name__}, no Section", stacklevel=3
    )
    return None
