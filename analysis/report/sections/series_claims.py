"""What the study of checkpoint series claimed, and what these runs say."""

from trajlab.analysis.checkpoint_frames import series_experiments
from trajlab.analysis.load import Runs
from trajlab.analysis.report import Section
from trajlab.analysis.trajectory_claims import series_claims

ORDER = 58


def section(runs: Runs) -> Section | None:
    """The verdicts on experiments that compare models; None where no claim can be tried."""
    parts = [series_claims(runs.select(experiment=e), n_bootstrap=200) for e in series_experiments(runs)]
    tried = [p for p in parts if not p.empty]
    if not tried:
        return None
    part = Section("Claims about checkpoint series")
    for table in tried:
        part.table(
            table, "Published and observed, with 95 % bootstrap intervals; see trajlab.analysis.trajectory_claims."
        )
    return part
