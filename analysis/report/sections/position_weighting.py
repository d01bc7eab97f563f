"""Position weighting: does training less on some positions help? Paired over seeds."""

from trajlab.analysis.load import Runs
from trajlab.analysis.position_weighting import final_losses, weighting_contrasts
from trajlab.analysis.report.section import Section


def section(runs: Runs) -> Section | None:
    """Final losses by weighting, and each weighting against none, for experiments that swept it."""
    frame = final_losses(runs)
    if frame.empty:
        return None
    swept = [(e, f) for e, f in frame.groupby("experiment") if len(f["weighting"].unique()) > 1]
    if not swept:
        return None
    part = Section("Position weighting")
    for experiment, own in swept:
        part.table(
            own.groupby(["split", "weighting", "measure"], sort=False)["loss"]
            .agg(["mean", "std", "count"])
            .reset_index(),
            f"{experiment}: final loss (nats per token) over the whole context and over its parts.",
        )
        part.table(
            weighting_contrasts(own),
            f"{experiment}: each weighting minus none, paired over seeds; Holm within a split and measure. A negative "
            "difference is a gain. Published (arXiv 2404.17785): no clear advantage.",
        )
    return part
