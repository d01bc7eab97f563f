"""A section of the report: shown wherever the runs hold what it needs."""

from trajlab.analysis.load import Runs
from trajlab.analysis.report import Section


def section(runs: Runs) -> Section | None:
    """The share of surprising tokens at the last interval of each run; None without the table."""
    frame = runs.table("surprise")
    if frame.empty:
        return None
    last = frame.sort_values("interval").groupby(["run", "variant", "split"], as_index=False).last()
    last["share"] = last["surprising"] / last["token_count"]
    part = Section("Surprising tokens")
    part.text("The share of validation tokens that the model thought very unlikely.")
    part.table(last[["run", "variant", "split", "share"]], "Share of surprising tokens at the end of each run.")
    return part
