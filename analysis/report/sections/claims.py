"""Published claims of the budget study beside what these runs show."""

from trajlab.analysis.claims import check
from trajlab.analysis.load import Runs
from trajlab.analysis.report import Section

ORDER = 90

STUDIES = {"budget": "Compute-aware token budget (arXiv 2606.13370)"}


def section(runs: Runs) -> Section | None:
    """A table per budget experiment; other experiments have no claims of this study."""
    part = Section("Published claims")
    experiments = sorted({str(m["experiment"]) for m in runs.manifests})
    for experiment in (e for e in experiments if "budget" in e):
        try:
            table = check(runs.select(experiment=experiment), "budget")
        except ValueError as e:
            part.text(f"{experiment}: not checked: {e}.")
            continue
        part.table(
            table,
            f"{experiment} against {STUDIES['budget']}. A run of another size or corpus is expected to differ in its numbers.",
        )
    return part if part.blocks else None
