"""Perplexity of noisy, contradicted and generated text along checkpoint series (table `sequences`)."""

import pandas as pd

from trajlab.analysis.figures.series import mixture_curves, noise_curves
from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import mixture_family, parameters_by_run
from trajlab.analysis.report.section import Section
from trajlab.analysis.sequences import response, sequence_perplexity, size_response


def section(runs: Runs) -> Section | None:
    """Noise-level and mixture curves with what they end at; None without the table."""
    table = runs.table("sequences")
    if table.empty:
        return None
    part = Section("Sequences")
    for experiment, own in sequence_perplexity(table).groupby("experiment", sort=False):
        caption = runs.select(experiment=experiment).caption
        if own.groupby("run")["tokens"].nunique().max() < 2:
            part.text(f"{experiment}: one checkpoint, so there is no curve to draw.")
        elif own["kind"].isin(["correct", "random", "contradicted"]).any():
            words = "Correct, partly randomised and contradicted text along training."
            part.figure(noise_curves(own, caption=caption), f"{experiment}_noise", words)
        if (own["kind"] == "mixture").any() and own.groupby("run")["tokens"].nunique().max() > 1:
            words = "Text generated from max(λ₁·p_small + λ₂·p_large, 0): greedy solid, nucleus dashed."
            part.figure(mixture_curves(own, caption=caption), f"{experiment}_mixtures", words)
        part.table(
            _without_empty(response(own)),
            "How each kind of text ends. The lowest of many noisy perplexities lies under the last one by chance, too.",
        )
        by_size = size_response(own, parameters_by_run(runs.manifests), _mixture_families(runs))
        if not by_size.empty:
            words = "Slope of the last loss on ln size, nats: over 0 is inverse scaling."
            part.table(_without_empty(by_size), words)
    return part


def _mixture_families(runs: Runs) -> dict[tuple[str, str], str]:
    """Runs by the family whose mixtures they scored; none where no run scored any."""
    families = {(m["experiment"], m["run"]): mixture_family(m) for m in runs.manifests}
    return {run: family for run, family in families.items() if family is not None}


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="experiment").dropna(axis=1, how="all")
