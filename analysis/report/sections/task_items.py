"""Single questions: paired comparisons, emergence, agreement, the link to the loss (table `task_items`)."""

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from trajlab.analysis.checkpoint_series import series_frame
from trajlab.analysis.figures.task_items import companion_curves, learned_curves
from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import parameters_by_run
from trajlab.analysis.report.section import Section
from trajlab.analysis.task_items import (
    KINDS,
    ItemGrid,
    agreement,
    aligned,
    compare_items,
    emergence,
    fit_link,
    item_grid,
    item_trends,
    smooth_companion,
)
from trajlab.analysis.task_items.emergence import ALPHA, FEWEST

PAIRS = 10
"""Pairs of models that are compared; those next to each other in size come first."""

Grids = Mapping[str, ItemGrid]
"""By model, the smallest first."""


def section(runs: Runs) -> Section | None:
    """Every experiment that stores its questions; None where none does."""
    rows = runs.table("task_items")
    if rows.empty:
        return None
    part = Section("Single questions")
    part.text(
        "Two checkpoints, or two models, are compared on the same questions: McNemar's exact test on right and wrong, sign "
        "flips on the bits per byte of the right option. Tests that take the two for independent samples are not made."
    )
    for experiment in dict.fromkeys(rows["experiment"]):
        _experiment(part, runs.select(experiment=experiment), str(experiment))
    return part


def _experiment(part: Section, runs: Runs, name: str) -> None:
    sizes, grids = parameters_by_run(runs.manifests), {}
    for run, rows in runs.table("task_items").groupby("run", sort=False):
        try:
            grids[str(run)] = item_grid(rows)
        except ValueError as e:
            part.problem(f"{run}: {e}.")
    grids = dict(sorted(grids.items(), key=lambda g: sizes.get((name, g[0]), np.inf)))
    if not grids:
        return
    steps: tuple[Callable[[], None], ...] = (
        lambda: _along(part, grids, runs, name),
        lambda: _between_checkpoints(part, grids),
        lambda: _between_models(part, grids),
        lambda: _emergence(part, grids, runs, name),
        lambda: _link(part, grids, runs),
    )
    for step in steps:
        try:
            step()
        except ValueError as e:
            part.problem(f"{name}: {e}.")


def _together(grid: ItemGrid) -> ItemGrid:
    """All questions as one task."""
    return ItemGrid(
        grid.items.assign(task="all questions"), grid.checkpoints, grid.correct_MC, grid.bits_MC, grid.margin_MC
    )


def _along(part: Section, grids: Grids, runs: Runs, name: str) -> None:
    frames = {m: smooth_companion(_together(g)) for m, g in grids.items()}
    part.figure(
        companion_curves(frames, caption=runs.caption),
        f"{name}_questions",
        "Accuracy over all questions, and the bits per byte of the right option; bands: other questions of the kind.",
    )
    by_task = pd.concat([smooth_companion(g).assign(model=m) for m, g in grids.items()], ignore_index=True)
    last = by_task.groupby(["model", "task"], sort=False).last().reset_index()
    shown = ["model", "task", "n", "accuracy", "accuracy_low", "accuracy_high", "bits", "bits_low", "bits_high"]
    part.table(last[shown], "At the last checkpoint, with 95 % intervals over questions.")


def _between_checkpoints(part: Section, grids: Grids) -> None:
    rows = []
    for model, grid in grids.items():
        last = len(grid.checkpoints) - 1
        for place in sorted({0, last // 2, last - 1} - {last, -1}):
            table = compare_items(grid.at(place), grid.at(last)).tail(1)
            rows.append(table.assign(model=model, between=_between(grid, place, last)))
    if rows:
        part.table(
            _front(pd.concat(rows, ignore_index=True), "model", "between"), "Checkpoints of one model, later − earlier."
        )


def _between(grid: ItemGrid, first: int, last: int) -> str:
    steps = grid.checkpoints["step"] if "step" in grid.checkpoints else grid.checkpoints["interval"]
    return f"{steps.iloc[first]:,} → {steps.iloc[last]:,}"


def _between_models(part: Section, grids: Grids) -> None:
    pairs = sorted(combinations(range(len(grids)), 2), key=lambda p: (p[1] - p[0], p))
    names, compared, alike = list(grids), [], []
    for a, b in pairs[:PAIRS]:
        first, second = (grids[names[i]].at(-1) for i in (a, b))
        compared.append(compare_items(first, second).assign(first=names[a], second=names[b]))
        x, y = (f["correct"].to_numpy(float) for f in aligned((first, second)))
        asked = np.isfinite(x) & np.isfinite(y)
        if asked.any():
            alike.append({"first": names[a], "second": names[b], **vars(agreement(x[asked], y[asked]))})
    if compared:
        part.table(
            _front(pd.concat(compared, ignore_index=True), "first", "second"),
            "Models at their last checkpoints, second − first.",
        )
    if alike:
        part.table(
            pd.DataFrame(alike),
            "Do they get the same questions right? κ: agreement beyond that of two models of these accuracies that have "
            "nothing in common (0), 1 at most.",
        )


def _front(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """These columns first; a difference is one of accuracies here, not of losses."""
    return frame[[*names, *(c for c in frame if c not in names)]].rename(columns={"difference": "accuracy_difference"})


def _emergence(part: Section, grids: Grids, runs: Runs, name: str) -> None:
    counts, learned, trends = [], {}, []
    for model, grid in grids.items():
        if len(grid.checkpoints) < FEWEST or not np.isfinite(grid.margin_MC).all(axis=1).any():
            continue
        found = emergence(grid.margin_MC)
        shares = found.groupby(grid.items["task"], sort=False)["kind"].value_counts(normalize=True)
        counts.append(shares.unstack().reindex(columns=list(KINDS)).fillna(0.0).reset_index().assign(model=model))  # noqa: PD010
        at = grid.checkpoints["tokens"].to_numpy(float)
        learned[model] = np.where(found["learned"] >= 0, at[found["learned"].to_numpy()], np.nan)
        trend, excess = item_trends(grid)
        trends.append({"model": model, **trend.value_counts(normalize=True), "upward by chance": excess.expected,
                       "excess": excess.excess, "excess_low": excess.low, "excess_high": excess.high})  # fmt: skip
    if not counts:
        part.text(f"{name}: when questions are learned needs {FEWEST} checkpoints and questions with options.")
        return
    part.table(
        _front(pd.concat(counts, ignore_index=True), "model", "task"),
        "Share of questions that are always known, learned for good, lost and learned again, forgotten, never known, or too "
        f"near the edge to tell. Of questions without any trend at most {ALPHA:.0%} seem to change.",
    )
    part.figure(
        learned_curves(learned, caption=runs.caption), f"{name}_learned", "When questions are learned for good."
    )
    part.table(
        pd.DataFrame(trends),
        "Trends of the right options' bits per byte, tested with AR(1) noise and Benjamini and Hochberg's adjustment; the "
        "share that rises beyond what trendless questions with the same noise would show.",
    )


def _link(part: Section, grids: Grids, runs: Runs) -> None:
    if runs.intervals.empty:
        return
    frame, rows = series_frame(runs), []
    for model, grid in grids.items():
        own = frame[frame["model"] == model].drop_duplicates("step").set_index("step")["ppl"]
        loss_C = np.log(own.reindex(grid.checkpoints["step"]).to_numpy(float))
        asked = np.isfinite(grid.correct_MC).all(axis=1) & grid.items["chance"].notna().to_numpy()
        seen = np.isfinite(loss_C)
        if seen.sum() >= 3 and asked.any():
            chance_M = grid.items["chance"].to_numpy(float)[asked]
            link = fit_link(grid.correct_MC[np.ix_(asked, seen)], loss_C[seen], chance_M)
            rows.append(link.table().assign(model=model, halfway_loss=link.halfway))
    if rows:
        part.table(
            _front(pd.concat(rows, ignore_index=True), "model"),
            "From loss to accuracy: chance + (1 − chance)·σ(intercept + slope·loss + question). Intervals hold other questions; "
            "halfway: the loss at which the median question is halfway between chance and always right.",
        )
