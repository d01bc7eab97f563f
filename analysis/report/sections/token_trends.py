"""Which tokens are learned, unlearned or left, and by which models (table `tokens`)."""

import math
import re

import pandas as pd

from trajlab.analysis.checkpoint_series import ProbedRun, probed_runs
from trajlab.analysis.figures.series import matched_perplexity_curves, token_trajectories, trend_share_curves
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section
from trajlab.analysis.token_trends import (
    READINGS,
    STARTS,
    TRENDS,
    at_matched_perplexity,
    classify_trends,
    double_descent,
    token_kinds,
    trend_shares,
)

START = 0.1
"""Where the tables start: a tenth of training in."""


def section(runs: Runs) -> Section | None:
    """Shares of trends, single tokens, kinds of tokens, double descent; None without runs of enough checkpoints."""
    probed = [run for run in probed_runs(runs) if len(run.tokens_C) - run.checkpoint(START) >= 3]
    if not probed:
        return None
    part = Section("Token trends")
    part.text(
        "Each probe token's perplexity, relative to that at the start checkpoint, is regressed on the number of checkpoints "
        "since. The slope test as published takes residuals for independent; those of a training run are not, so it calls "
        "too many tokens significant. The other readings allow for many tests (BH), for autocorrelation (AR(1)) or use ranks."
    )
    for experiment in dict.fromkeys(run.experiment for run in probed):
        _shares(
            part, [run for run in probed if run.experiment == experiment], runs.select(experiment=experiment).caption
        )
    for probe_set in dict.fromkeys(run.probe_set for run in probed):
        own = sorted((r for r in probed if r.probe_set == probe_set), key=lambda r: (r.parameters, r.model))
        _single_tokens(part, own[-1], runs.select(experiment=own[-1].experiment).caption)
        if len({r.parameters for r in own}) > 1:
            _double_descent(part, own, runs.select(experiment=own[-1].experiment).caption)
    return part


def _shares(part: Section, probed: list[ProbedRun], caption: str) -> None:
    frames = [
        trend_shares(run.nll_MC, STARTS, at_C=run.tokens_C).assign(model=run.model, parameters=run.parameters)
        for run in probed
    ]
    shares = pd.concat(frames, ignore_index=True)
    name = probed[0].experiment
    part.figure(trend_share_curves(shares, caption=caption), f"{name}_trend_shares", "Trend shares by the start point.")
    table = shares[shares["start"] == START].pivot_table(
        index=["model", "reading"], columns="trend", values="share", observed=False, sort=False
    )
    table = table.reindex(columns=list(TRENDS)).reset_index()
    table["reading"] = pd.Categorical(table["reading"], list(READINGS))
    table = table.sort_values(["model", "reading"]).astype({"reading": str})
    part.table(table, f"Share of {len(probed[0].nll_MC):,} tokens from {START:.0%} of training on, by test.")


def _single_tokens(part: Section, run: ProbedRun, caption: str) -> None:
    trend = classify_trends(run.nll_MC, run.checkpoint(START))["trend"]
    name = f"{run.experiment}_{run.model}".replace("/", "_")
    part.figure(
        token_trajectories(run.nll_MC, trend, run.tokens_C, caption=caption),
        f"{name}_token_trajectories",
        f"Single tokens of {run.model}, classed from {START:.0%} of training on.",
    )
    if len(run.probes) == len(trend) and {"frequency", "position", "token"} & set(run.probes):
        kinds = token_kinds(trend, run.probes.sort_values("probe"))
        kinds["level"] = kinds["level"].map(_bin)
        table = kinds.pivot_table(index=["property", "level"], columns="trend", values="share", sort=False)
        part.table(table.reset_index(), f"Share of each trend among kinds of tokens, {run.model}.")


def _bin(level: object) -> str:
    """``(13.0, 24.0]`` of counts as people write it: 14–24."""
    found = re.fullmatch(r"\((\d+(?:\.\d+)?), (\d+(?:\.\d+)?)\]", str(level))
    return f"{math.floor(float(found[1])) + 1}–{math.floor(float(found[2]))}" if found else str(level)


def _double_descent(part: Section, probed: list[ProbedRun], caption: str) -> None:
    reference = probed[0].model
    nll, at = {run.model: run.nll_MC for run in probed}, {run.model: run.tokens_C for run in probed}
    found = double_descent(nll, reference, START, at=at)
    if found is None:
        part.text(f"{reference} has no upward token: there is no double descent to trace.")
        return
    sizes = {run.model: run.parameters for run in probed}
    traced = found.traced.assign(parameters=found.traced["model"].map(sizes))
    part.figure(
        matched_perplexity_curves(traced, reference=reference, caption=caption),
        f"{probed[0].experiment}_{reference}_double_descent".replace("/", "_"),
        f"The {int(found.selected_M.sum()):,} tokens upward in {reference}, in models of all sizes, against each model's "
        "perplexity over all probe tokens.",
    )
    part.table(found.table(), "The same tokens: fall over 0 where a model learns again what it had unlearned.")
    matched = at_matched_perplexity(traced).set_index(["level", "model"])["group_ppl"].unstack("model")  # noqa: PD010
    part.table(
        matched[list(sizes)].reset_index(), "Their perplexity where each model first reaches the same perplexity."
    )
