"""Frames of accuracy and perplexity by checkpoint: from a run store, or from a long table of results."""

import warnings
from collections.abc import Sequence

import pandas as pd

from trajlab.analysis.checkpoint_series import COLUMNS, series_frame
from trajlab.analysis.load import Runs
from trajlab.analysis.published.model_names import parameters_of

ZERO_SHOT = ("piqa", "sciq", "arc_easy", "arc_challenge", "winogrande")
"""Tasks whose mean accuracy stands for a Pythia checkpoint in docs/methods.md §5."""

ACCURACIES = ("acc", "multiple_choice_grade", "accuracy")
"""Names under which harnesses store accuracy, in 0 to 1."""


def predictor_frame(
    results: pd.DataFrame,
    tasks: Sequence[str] = ZERO_SHOT,
    metric: str = "acc",
    perplexity_task: str = "lambada_openai",
    perplexity_metrics: Sequence[str] = ("ppl", "perplexity"),
    min_step: int = 1000,
) -> pd.DataFrame:
    """One row per checkpoint for `predictors`: model, parameters, step, tokens, ppl, accuracy (mean over ``tasks``).

    ``results`` is long: model, step, tokens, task, metric, value, with parameters where the model's name does not tell
    them. Checkpoints before ``min_step`` are left out: docs/methods.md §5 starts at 1000, where perplexity is off its initial
    plateau. Checkpoints that lack a task are left out with a warning that names them. Raises ValueError for duplicates
    (several numbers of shots in one table) and where nothing is left.
    """
    late = results[results["step"] >= min_step]
    scores = late[(late["metric"] == metric) & late["task"].isin(tasks)]
    ppl = late[(late["task"] == perplexity_task) & late["metric"].isin(perplexity_metrics)]
    keys = ["model", "step", "tokens"]
    for part, what in ((scores, [*keys, "task"]), (ppl, keys)):
        if part.duplicated(what).any():
            first = part[part.duplicated(what)].iloc[0][[*keys, "task"]].to_dict()
            raise ValueError(f"{first} stands more than once; choose one number of shots before")
    mean = scores.groupby(keys)["value"].agg(accuracy="mean", found="size")
    table = mean.join(ppl.set_index(keys)["value"].rename("ppl"), how="outer").reset_index()
    whole = (table["found"] == len(set(tasks))) & table["ppl"].notna()
    if (~whole).any():
        names = [f"{r.model} step {r.step}" for r in table[~whole].itertuples()]
        warnings.warn(f"{len(names)} checkpoints lack a task or the perplexity: {', '.join(names[:8])}", stacklevel=2)
    table = table[whole]
    if table.empty:
        raise ValueError(
            f"no checkpoint has {metric} of {list(tasks)} and {perplexity_task} {list(perplexity_metrics)}"
        )
    table.insert(1, "parameters", _parameters(table["model"], results))
    return table.drop(columns="found").sort_values(["parameters", "step"], ignore_index=True)


def _parameters(models: pd.Series, results: pd.DataFrame) -> pd.Series:
    if "parameters" in results:
        return models.map(results.groupby("model")["parameters"].first())
    return models.map({name: parameters_of(name) for name in models.unique()})


def runs_frame(runs: Runs, metric: str | None = None, split: str | None = None) -> pd.DataFrame:
    """Accuracy of every task at every stored checkpoint with its perplexity: a row per run × checkpoint × task.

    Joins table `tasks` with `intervals` (variant raw) on experiment, run and step. ``metric`` defaults to the first of `ACCURACIES`
    that is there, or to the only one; ``split`` to the first. Columns: experiment, model (the run's name), parameters, step, tokens,
    task, ppl, accuracy. Task checkpoints without a perplexity are left out.
    """
    tasks = runs.tasks.rename(columns={"run": "model", "value": "accuracy"})
    if "variant" in tasks:
        tasks = tasks[tasks["variant"] == "raw"]
    metrics = list(tasks["metric"].unique())
    metric = metric or next((m for m in ACCURACIES if m in metrics), metrics[0] if len(metrics) == 1 else None)
    if metric not in metrics:
        raise ValueError(
            f"table tasks holds the metrics {metrics}, not {metric or ACCURACIES}: name one of them as metric"
        )
    keys = ["experiment", "model", "step"]
    scores = tasks.loc[tasks["metric"] == metric, [*keys, "task", "accuracy"]]
    table = scores.merge(series_frame(runs, split), on=keys, validate="many_to_one")
    return table[[*COLUMNS[:-1], "task", "ppl", "accuracy"]]


def mean_over_tasks(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per checkpoint: accuracy is the mean over tasks. Raises ValueError where checkpoints differ in tasks."""
    keys = [c for c in ("experiment", "model", "parameters", "step", "tokens", "ppl") if c in frame]
    counts = frame.groupby(keys, dropna=False)["task"].nunique()
    if counts.min() < counts.max():
        few = counts.idxmin()
        raise ValueError(f"{few} has {counts.min()} tasks, others {counts.max()}: a mean over different tasks misleads")
    return frame.groupby(keys, as_index=False, dropna=False)["accuracy"].mean()
