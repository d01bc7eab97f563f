"""Published claims beside what these runs show, for every experiment that is of a study with claims."""

from trajlab.analysis.claims import check, claim_sets, judged_experiments
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section


def section(runs: Runs) -> Section | None:
    """A table per study × experiment; None where no run is of a study with claims, or no claim can be tried."""
    part = Section("Published claims")
    for study, claims in claim_sets().items():
        try:
            experiments = judged_experiments(runs, study)
        except ValueError as e:
            part.text(f"{study}: not checked: {e}.")
            continue
        for experiment in experiments:
            _one(part, runs.select(experiment=experiment), experiment, study, f"{claims.source}. {claims.reading}")
    return part if part.blocks else None


def _one(part: Section, runs: Runs, experiment: str, study: str, words: str) -> None:
    try:
        table = check(runs, study)
    except ValueError as e:
        part.text(f"{experiment}: not checked: {e}.")
        return
    if not table.empty:
        part.table(table, f"{experiment} against {words}".strip())
