"""Perplexity of checkpoint series against FLOPs and tokens, by size."""

import pandas as pd

from trajlab.analysis.checkpoint_series import series_experiments, series_frame
from trajlab.analysis.figures.series import perplexity_curves
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section


def section(runs: Runs) -> Section | None:
    """Figure and table of every experiment that compares models; None where none does."""
    experiments = series_experiments(runs) if not runs.intervals.empty else []
    if not experiments:
        return None
    part = Section("Checkpoint series")
    for experiment in experiments:
        own = runs.select(experiment=experiment)
        if own.intervals.empty:
            continue
        frame = series_frame(own)
        _contexts(part, own)
        part.figure(
            perplexity_curves(frame, caption=own.caption),
            f"{experiment}_series",
            "Perplexity against FLOPs and tokens, by size.",
        )
        part.table(_ends(frame), "Each series from its first to its last checkpoint.")
    return part if part.blocks else None


def _contexts(part: Section, runs: Runs) -> None:
    """A box where models were scored with windows of different lengths."""
    found = {str(m.get("run")): (m.get("data") or {}).get("context") for m in runs.manifests}
    if len({c for c in found.values() if c}) > 1:
        named = ", ".join(f"{run} {c:,}" for run, c in found.items() if c)
        part.problem(
            f"The models were scored with windows of different lengths ({named} tokens): a longer one lowers the loss, so their "
            "losses don't compare. Set evaluation.context to the shortest for all."
        )


def _ends(frame: pd.DataFrame) -> pd.DataFrame:
    groups = frame.sort_values("tokens", kind="stable").groupby(["model", "parameters"], sort=False, dropna=False)
    table = groups.agg(
        checkpoints=("tokens", "nunique"),
        tokens=("tokens", "last"),
        first_ppl=("ppl", "first"),
        lowest_ppl=("ppl", "min"),
        last_ppl=("ppl", "last"),
    ).reset_index()
    if "bits_per_byte" in frame:
        table["last bits per byte"] = groups["bits_per_byte"].last().to_numpy()
    return table.sort_values("parameters", ignore_index=True)
