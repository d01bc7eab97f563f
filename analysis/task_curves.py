"""How task accuracy follows scale and perplexity (methods.md §5; Xia et al. 2023, arXiv 2212.09803).

`linearity` and `breakthroughness` measure the shape of one curve, `task_shapes` of every task. `predictors` asks what
predicts accuracy: perplexity, FLOPs, tokens or size; `matched_accuracy` compares sizes at equal perplexity. Frames come
from `runs_frame` (a run store), `predictor_frame` (a long table of results), `read_lm_eval` (lm-evaluation-harness JSON)
and `read_published` (csv).
"""

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from trajlab.analysis.checkpoint_series import COLUMNS, series_frame
from trajlab.analysis.load import Runs

ZERO_SHOT = ("piqa", "sciq", "arc_easy", "arc_challenge", "winogrande")
"""Tasks whose mean accuracy stands for a Pythia checkpoint in methods.md §5."""

ACCURACIES = ("acc", "multiple_choice_grade", "accuracy")
"""Names under which harnesses store accuracy, in 0 to 1."""


# ---- the shape of one curve


def improvement(y: ArrayLike) -> float:
    """I(y) = sign(argmax y − argmin y)·(max y − min y): the range, negative where the best comes before the worst."""
    values = _curve(y)
    return float(np.sign(np.argmax(values) - np.argmin(values)) * (values.max() - values.min()))


def linearity(y: ArrayLike) -> float:
    """L(y) = I(y)/√(mean z²), z the successive differences; BIG-bench (Srivastava et al. 2022, arXiv 2206.04615).

    ``y`` is a score at increasing scale. At most n − 1 for n points, reached by a straight rise; 0 for a constant.

    >>> linearity([1, 2, 3, 4])
    3.0
    """
    return _per_step(y, np.mean)


def breakthroughness(y: ArrayLike) -> float:
    """B(y) = I(y)/√(median z²), z the successive differences; BIG-bench (arXiv 2206.04615).

    Large where most of the rise comes in few of the steps; infinite where at least half of the steps are exactly flat. It
    is a ratio to the typical step, so on noisy curves it measures the noise: see docs/log.md before trusting it there.
    """
    return _per_step(y, np.median)


def _per_step(y: ArrayLike, centre: Any) -> float:
    gain, step = improvement(y), math.sqrt(centre(np.diff(_curve(y)) ** 2))
    if gain == 0:
        return 0.0
    return math.copysign(math.inf, gain) if step == 0 else gain / step


def _curve(y: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(y, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"y has shape {values.shape}: expected two or more finite scores at increasing scale")
    return values


def task_shapes(frame: pd.DataFrame) -> pd.DataFrame:
    """Linearity and breakthroughness of every task along the joint trajectory of all sizes; least linear first.

    ``frame``: task, ppl, accuracy, a row per task × checkpoint of any model. Checkpoints are ordered by falling perplexity
    (later rows second where it ties), which is the scale on which sizes agree. ``r2`` is that of accuracy on ln ppl.
    Columns: task, checkpoints, improvement, linearity, breakthroughness, r2.
    """
    rows = []
    for task, group in frame.groupby("task"):
        group = group.sort_values("ppl", ascending=False, kind="stable")
        y = group["accuracy"].to_numpy()
        r2 = _fit([np.log(group["ppl"].to_numpy())], y)[0] if np.ptp(y) > 0 else np.nan
        rows.append((task, len(y), improvement(y), linearity(y), breakthroughness(y), r2))
    columns = ["task", "checkpoints", "improvement", "linearity", "breakthroughness", "r2"]
    return pd.DataFrame(rows, columns=columns).sort_values("linearity", ignore_index=True)


# ---- what predicts accuracy


def predictors(frame: pd.DataFrame) -> pd.DataFrame:
    """What predicts accuracy across sizes and checkpoints: a row per predictor, best first within its group.

    ``frame``: model, parameters, tokens, ppl, accuracy (and step, unused), a row per checkpoint. Least squares of accuracy
    on the quadratic of ln ppl, ln FLOPs (6·parameters·tokens), ln tokens and ln size; then on the quadratic of ln ppl plus
    a linear term of each other. Columns: predictor, n, terms, r2, r2_adjusted; r2_left_out, predicting each model from
    the others; f, df1, df2, p, the nested F test of ln ppl and the predictor against ln ppl alone (does it add anything?);
    f_ppl, p_ppl, that against the predictor alone (does ln ppl?).

    The F tests take residuals for independent, which those of neighbouring checkpoints are not: their p are too small, so
    read the gain in R² and r2_left_out first.

    Raises ValueError for a missing column, a value that has no logarithm, or too few checkpoints.
    """
    designs, y = _designs(frame)
    ppl, models = designs["ln ppl"], frame["model"].to_numpy()
    rows = []
    for name, terms in designs.items():
        r2, rank = _fit(terms, y)
        both = terms if name.startswith("ln ppl") else [*ppl, *terms]
        own = terms[len(ppl) :] if name.startswith("ln ppl +") else terms
        f, df1, df2, p = (math.nan,) * 4 if name == "ln ppl" else _nested_f(ppl, both, y)
        f_ppl, _, _, p_ppl = (math.nan,) * 4 if name == "ln ppl" else _nested_f(own, both, y)
        row = {"predictor": name, "n": len(y), "terms": rank, "r2": r2}
        row |= {"r2_adjusted": 1 - (1 - r2) * (len(y) - 1) / (len(y) - 1 - rank)}
        row |= {"r2_left_out": _left_out(terms, y, models)}
        rows.append(row | {"f": f, "df1": df1, "df2": df2, "p": p, "f_ppl": f_ppl, "p_ppl": p_ppl})
    table = pd.DataFrame(rows)
    joint = table["predictor"].str.contains("+", regex=False)
    return (
        table.assign(joint=joint)
        .sort_values(["joint", "r2"], ascending=[True, False], ignore_index=True)
        .drop(columns="joint")
    )


def r_squared(frame: pd.DataFrame) -> pd.Series:
    """R² by predictor, as in `predictors` and without its tests: for resampling."""
    designs, y = _designs(frame)
    return pd.Series({name: _fit(terms, y)[0] for name, terms in designs.items()}, name="r2")


def _designs(frame: pd.DataFrame) -> tuple[dict[str, list[NDArray[np.float64]]], NDArray[np.float64]]:
    """The terms of every predictor, and accuracy."""
    logs, y = _logarithms(frame)
    designs = {name: _quadratic(x) for name, x in logs.items()}
    joint = {f"ln ppl + {name}": [*designs["ln ppl"], x] for name, x in logs.items() if name != "ln ppl"}
    return designs | joint, y


def _logarithms(frame: pd.DataFrame) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    needed = ["model", "parameters", "tokens", "ppl", "accuracy"]
    if missing := [c for c in needed if c not in frame]:
        raise ValueError(f"predictors needs the columns {needed}: {missing} missing")
    values = frame[needed[1:]].astype(float)  # 6·parameters·tokens does not fit 64-bit integers
    bad = ~(np.isfinite(values).all(axis=1) & (values[["parameters", "tokens", "ppl"]] > 0).all(axis=1))
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(frame)} checkpoints have no logarithm, the first being "
            f"{frame[bad].iloc[0][needed].to_dict()}; leave them out (step 0 has seen no tokens)"
        )
    if len(frame) < 8:
        raise ValueError(f"{len(frame)} checkpoints: predictors needs eight or more")
    logs = {
        "ln ppl": np.log(values["ppl"].to_numpy()),
        "ln FLOPs": np.log(6 * values["parameters"].to_numpy() * values["tokens"].to_numpy()),
        "ln tokens": np.log(values["tokens"].to_numpy()),
        "ln size": np.log(values["parameters"].to_numpy()),
    }
    return logs, values["accuracy"].to_numpy()


def _quadratic(x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    centred = x - x.mean()  # x and x² are nearly collinear otherwise
    return [centred, centred**2]


def _design(terms: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    columns = np.column_stack([np.ones_like(terms[0]), *terms])
    return columns / np.maximum(np.abs(columns).max(axis=0), 1e-300)


def _fit(terms: Sequence[NDArray[np.float64]], y: NDArray[np.float64]) -> tuple[float, int]:
    """R² and the number of terms beside the intercept; columns that add nothing (one size only) don't count."""
    x = _design(terms)
    beta, _, rank, _ = np.linalg.lstsq(x, y, rcond=1e-10)
    return float(1 - ((y - x @ beta) ** 2).sum() / ((y - y.mean()) ** 2).sum()), int(rank) - 1


def _nested_f(
    small: Sequence[NDArray[np.float64]], large: Sequence[NDArray[np.float64]], y: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    (r2_small, k_small), (r2_large, k_large) = _fit(small, y), _fit(large, y)
    df1, df2 = k_large - k_small, len(y) - 1 - k_large
    if df1 <= 0 or df2 <= 0:
        return (math.nan,) * 4
    f = (r2_large - r2_small) / df1 / ((1 - r2_large) / df2)
    return f, df1, df2, float(stats.f.sf(f, df1, df2))


def _left_out(terms: Sequence[NDArray[np.float64]], y: NDArray[np.float64], models: NDArray[Any]) -> float:
    """R² of predicting each model's checkpoints from a fit to the other models'; NaN for one model."""
    x, predicted = _design(terms), np.empty_like(y)
    names = pd.unique(models)
    if len(names) < 2:
        return math.nan
    for name in names:
        out = models == name
        predicted[out] = x[out] @ np.linalg.lstsq(x[~out], y[~out], rcond=1e-10)[0]
    return float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def matched_accuracy(frame: pd.DataFrame, levels: ArrayLike | None = None) -> pd.DataFrame:
    """Accuracy of every model at the same perplexities: index level, a column per model, then ``range``.

    Each model's accuracy is interpolated in ln ppl (a model that reaches a perplexity twice counts with the mean of its
    checkpoints there); NaN outside its range. ``levels`` defaults to seven over the perplexities that at least two models
    reach. ``range`` is largest less smallest: near 0 where size adds nothing at equal perplexity.
    """
    reach = frame.groupby("model", sort=False)["ppl"].agg(["min", "max"])
    if levels is None:
        low, high = (np.sort(reach["min"])[1], np.sort(reach["max"])[-2]) if len(reach) > 1 else reach.iloc[0]
        levels = np.geomspace(high, low, 7)
    levels = np.asarray(levels, dtype=float)
    columns = {}
    for model, group in frame.groupby("model", sort=False):
        curve = group.groupby("ppl")["accuracy"].mean()
        x = np.log(curve.index.to_numpy())
        columns[model] = np.interp(np.log(levels), x, curve.to_numpy(), left=np.nan, right=np.nan)
    table = pd.DataFrame(columns, index=pd.Index(levels, name="ppl"))
    table["range"] = table.max(axis=1) - table.min(axis=1)
    return table


# ---- frames for it


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
    them. Checkpoints before ``min_step`` are left out: methods.md §5 starts at 1000, where perplexity is off its initial
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


def parameters_of(model: str) -> float:
    """The nominal number of parameters in a model's name: ``pythia-1.4b-deduped`` is 1.4e9.

    Raises ValueError where the name holds no size.
    """
    found = re.findall(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([kmbt])(?![a-z0-9])", model.lower())
    if not found:
        raise ValueError(f"{model!r} holds no size such as 160m or 1.4b; give the frame a column parameters")
    number, letter = found[0]
    return float(number) * {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}[letter]


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


# ---- published results


def read_published(path: Path | str) -> pd.DataFrame:
    """A csv of published results with the names used here.

    ``valid_ppl`` becomes ppl, ``acc_pct`` accuracy in 0 to 1, ``params`` parameters, ``step_est`` and ``tokens_est`` step
    and tokens; parameters are read off the model's name where no column tells them.
    """
    frame = pd.read_csv(path).rename(
        columns={"valid_ppl": "ppl", "params": "parameters", "step_est": "step", "tokens_est": "tokens"}
    )
    if "acc_pct" in frame:
        frame["accuracy"] = frame.pop("acc_pct") / 100
    if "parameters" not in frame and "model" in frame:
        frame["parameters"] = frame["model"].map({m: parameters_of(m) for m in frame["model"].unique()})
    return frame


def read_lm_eval(path: Path | str, tokens_per_step: float | None = None) -> pd.DataFrame:
    """Results of lm-evaluation-harness, old and new format: one JSON file, or all at or below a folder.

    Columns as in table `tasks`: model, step, tokens, task, metric, filter, value, stderr, n, shots. Model and step come
    from ``pretrained=…,revision=step…`` of the model's arguments, else from the file's name (``160m_step1000.json``);
    tokens are step × ``tokens_per_step`` (2,097,152 for Pythia), NaN without. Raises FileNotFoundError for no file,
    ValueError for JSON that holds no results.
    """
    path = Path(path)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise FileNotFoundError(f"{path}: no lm-evaluation-harness JSON here")
    frame = pd.DataFrame([row for file in files for row in _lm_eval_rows(file)])
    frame.insert(2, "tokens", frame["step"] * (math.nan if tokens_per_step is None else tokens_per_step))
    return frame


def _lm_eval_rows(file: Path) -> Iterator[dict[str, Any]]:
    content = json.loads(file.read_text())
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise ValueError(f"{file}: no 'results' in it; is it a results file of lm-evaluation-harness?")
    model, step = _model_and_step(content, file.stem)
    shots, counts = content.get("n-shot", {}), content.get("n-samples", {})
    default_shots = (content.get("config") or {}).get("num_fewshot")
    for task, values in content["results"].items():
        for key, value in values.items():
            metric, _, chosen = key.partition(",")
            if metric.endswith("_stderr") or isinstance(value, bool) or not isinstance(value, int | float):
                continue  # the alias, "N/A", and errors, which stand beside their value
            stderr = values.get(f"{metric}_stderr,{chosen}" if chosen else f"{metric}_stderr")
            yield {
                "model": model,
                "step": step,
                "task": task,
                "metric": metric,
                "filter": chosen or None,
                "value": float(value),
                "stderr": float(stderr) if isinstance(stderr, int | float) else math.nan,
                "n": (counts.get(task) or {}).get("effective"),
                "shots": shots.get(task, default_shots),
            }


def _model_and_step(content: Mapping[str, Any], stem: str) -> tuple[str, float]:
    arguments = (content.get("config") or {}).get("model_args") or {}
    if isinstance(arguments, str):
        arguments = dict(part.split("=", 1) for part in arguments.split(",") if "=" in part)
    named = re.fullmatch(r"(?P<model>.+?)[_-]step(?P<step>\d+)", stem)
    pretrained = arguments.get("pretrained") or content.get("model_name") or (named["model"] if named else stem)
    revision = re.search(r"step[_-]?(\d+)", str(arguments.get("revision", "")))
    step = revision[1] if revision else named["step"] if named else math.nan
    return str(pretrained).rstrip("/").split("/")[-1], float(step)
