"""Published claims beside what these runs show, for every experiment that is of a study with claims."""

from trajlab.analysis.claims import ClaimSet, claim_sets, judged, judged_experiments
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section


def section(runs: Runs) -> Section | None:
    """A table per study × experiment; None where no run is of a study with claims, or no claim can be tried."""
    part = Section("Published claims")
    for name, claims in claim_sets().items():
        try:
            experiments = judged_experiments(runs, name, claims)
        except ValueError as e:
            part.text(f"{name}: not checked: {e}.")
            continue
        for experiment in experiments:
            _one(part, runs.select(experiment=experiment), experiment, name, claims)
    return part if part.blocks else None


def _one(part: Section, runs: Runs, experiment: str, name: str, claims: ClaimSet) -> None:
    try:
        table = judged(runs, name, claims)
    except ValueError as e:
        part.text(f"{experiment}: not checked: {e}.")
        return
    if not table.empty:
        part.table(table, f"{experiment} against {claims.source}. {claims.reading}".strip())
