"""What predicts accuracy across sizes and checkpoints: perplexity, FLOPs, tokens or size."""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trajlab.analysis.task_curves.least_squares import least_squares_r2, left_out_r2, nested_f


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
        r2, rank = least_squares_r2(terms, y)
        both = terms if name.startswith("ln ppl") else [*ppl, *terms]
        own = terms[len(ppl) :] if name.startswith("ln ppl +") else terms
        f, df1, df2, p = (math.nan,) * 4 if name == "ln ppl" else nested_f(ppl, both, y)
        f_ppl, _, _, p_ppl = (math.nan,) * 4 if name == "ln ppl" else nested_f(own, both, y)
        row = {"predictor": name, "n": len(y), "terms": rank, "r2": r2}
        row |= {"r2_adjusted": 1 - (1 - r2) * (len(y) - 1) / (len(y) - 1 - rank)}
        row |= {"r2_left_out": left_out_r2(terms, y, models)}
        rows.append(row | {"f": f, "df1": df1, "df2": df2, "p": p, "f_ppl": f_ppl, "p_ppl": p_ppl})
    table = pd.DataFrame(rows)
    joint = table["predictor"].str.contains("+", regex=False)
    return (
        table.assign(joint=joint)
        .sort_values(["joint", "r2"], ascending=[True, False], ignore_index=True)
        .drop(columns="joint")
    )


def _designs(frame: pd.DataFrame) -> tuple[dict[str, list[NDArray[np.float64]]], NDArray[np.float64]]:
    """The terms of every predictor, and accuracy."""
    logs, y = logarithms(frame)
    designs = {name: quadratic(x) for name, x in logs.items()}
    joint = {f"ln ppl + {name}": [*designs["ln ppl"], x] for name, x in logs.items() if name != "ln ppl"}
    return designs | joint, y


def logarithms(frame: pd.DataFrame) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """ln of perplexity, FLOPs, tokens and size of each checkpoint, and accuracy. Raises ValueError as `predictors` does."""
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


def quadratic(x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The terms of a quadratic, centred."""
    centred = x - x.mean()  # x and x² are nearly collinear otherwise
    return [centred, centred**2]


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
