"""Task accuracy against perplexity across sizes, and every number of every task (table `tasks`)."""

import pandas as pd

from trajlab.analysis.figures.series import accuracy_curves, task_panels
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section
from trajlab.analysis.task_curves import (
    ACCURACIES,
    matched_accuracy,
    mean_over_tasks,
    predictors,
    runs_frame,
    task_shapes,
)


def section(runs: Runs) -> Section | None:
    """Curves, the shape of every task's, the predictors table, sizes at matched perplexity; None without tasks."""
    if runs.tasks.empty or runs.intervals.empty:
        return None
    part = Section("Tasks")
    for experiment in runs.tasks["experiment"].unique():
        own = runs.select(experiment=experiment)
        if set(own.tasks["metric"]) & set(ACCURACIES):
            frame = runs_frame(own)
            frame = frame[frame["tokens"] > 0]  # the initialisation has no place on a logarithmic axis
            if not frame.empty:
                _experiment(part, str(experiment), frame, own.caption)
        part.table(_last_values(own), f"{experiment}: every number of every task at the last checkpoint that has it.")
    return part if part.blocks else None


def _last_values(runs: Runs) -> pd.DataFrame:
    """Value, standard error, questions, shots and chance by model, task and metric; perplexities of texts too."""
    last = runs.tasks.sort_values("step", kind="stable").groupby(["run", "task", "metric"], sort=False).last()
    table = last[[c for c in ("step", "value", "stderr", "n", "shots") if c in last]].reset_index()
    items = runs.table("task_items")
    if not items.empty:
        chance = items.groupby("task")["chance"].mean()
        accurate = table["metric"].isin([*ACCURACIES, "unnormalised_grade", "acc_norm"])
        table["chance"] = table["task"].map(chance).where(accurate)
    return table.rename(columns={"run": "model"}).dropna(axis=1, how="all")


def _experiment(part: Section, experiment: str, frame: pd.DataFrame, caption: str) -> None:
    tasks = sorted(frame["task"].unique())
    found = frame.groupby(["model", "step"])["task"].transform("nunique")
    if (found < len(tasks)).any():
        part.text(f"{experiment}: checkpoints that lack a task are left out of the means.")
    mean = mean_over_tasks(frame[found == found.max()])
    part.figure(
        accuracy_curves(mean, caption=caption, title=f"Mean accuracy over {len(tasks)} tasks"),
        f"{experiment}_tasks",
        "Accuracy against perplexity and FLOPs, by size.",
    )
    part.figure(task_panels(frame, tasks[:12], caption=caption), f"{experiment}_task_panels", "Single tasks.")
    if frame.groupby("task").size().min() > 2:
        part.table(task_shapes(frame), "Shape along the joint trajectory, checkpoints by falling perplexity.")
    if mean["parameters"].notna().all() and len(mean) >= 8:
        part.table(
            predictors(mean),
            "What predicts mean accuracy: quadratic fits; f, p: does it add to ln ppl? f_ppl, p_ppl: does ln ppl add to it?",
        )
    if len(mean["model"].unique()) > 1:
        matched = matched_accuracy(mean).dropna(subset="range").reset_index()
        part.table(matched, "Accuracy at the same perplexity; range = largest − smallest over sizes.")
