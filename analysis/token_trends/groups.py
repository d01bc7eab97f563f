"""One group of tokens in models of other sizes: where it goes, and whether what one model unlearns another learns.

Shapes: M tokens, C checkpoints. Losses in nats.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trajlab.analysis.token_trends.classes import classify_trends
from trajlab.analysis.token_trends.losses import checked_losses, start_column


def trace(
    nll: Mapping[str, ArrayLike], selected_M: ArrayLike, ppl: Mapping[str, ArrayLike] | None = None
) -> pd.DataFrame:
    """The perplexity of a group of tokens along each model: a row per model × checkpoint.

    ``nll`` holds an (M, C) matrix for each model, over the same tokens; C may differ. ``ppl`` is each model's own
    perplexity at its checkpoints, by default that of all M tokens. Columns: model, checkpoint, ppl, group_ppl, where
    group_ppl = exp(mean nll of the selected tokens).
    """
    selected = np.asarray(selected_M, dtype=bool)
    if not selected.any():
        raise ValueError("selected_M holds no token: there is nothing to trace")
    frames = []
    for model, matrix in nll.items():
        nll_MC, _ = checked_losses(matrix, None)
        if len(nll_MC) != len(selected):
            raise ValueError(
                f"{model} has {len(nll_MC)} tokens, selected_M {len(selected)}: they must be the same probe"
            )
        own = np.exp(nll_MC.mean(axis=0, dtype=float)) if ppl is None else np.asarray(ppl[model], dtype=float)
        group = np.exp(nll_MC[selected].mean(axis=0, dtype=float))
        frames.append(pd.DataFrame({"model": model, "checkpoint": range(len(own)), "ppl": own, "group_ppl": group}))
    return pd.concat(frames, ignore_index=True)


def at_matched_perplexity(traced: pd.DataFrame, levels: ArrayLike | None = None) -> pd.DataFrame:
    """The group's perplexity where each model first reaches the same perplexity: a row per model × level.

    Linear in logarithms between checkpoints; NaN at levels that a model never spans. ``levels`` defaults to seven over
    the range that all models share. ``spread`` is the largest ÷ the smallest group perplexity of a level less one: near 0
    where models of all sizes treat the tokens alike.
    """
    reached = traced.groupby("model", sort=False)["ppl"].agg(["min", "max"])
    if levels is None:
        levels = np.geomspace(reached["max"].min(), reached["min"].max(), 7)
    levels = np.asarray(levels, dtype=float)
    frames = [
        pd.DataFrame({"model": model, "level": levels, "group_ppl": _first_crossing(frame, levels)})
        for model, frame in traced.groupby("model", sort=False)
    ]
    table = pd.concat(frames, ignore_index=True)
    by_level = table.groupby("level")["group_ppl"]
    table["spread"] = by_level.transform("max") / by_level.transform("min") - 1
    return table


def _first_crossing(frame: pd.DataFrame, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    ppl, group = np.log(frame["ppl"].to_numpy()), np.log(frame["group_ppl"].to_numpy())
    found = np.full(len(levels), np.nan)
    for k, level in enumerate(np.log(levels)):
        below = np.flatnonzero(ppl <= level + 1e-12)
        if not len(below) or (below[0] == 0 and ppl[0] < level - 1e-12):
            continue
        j = below[0]
        w = 0.0 if j == 0 or ppl[j - 1] == ppl[j] else (ppl[j - 1] - level) / (ppl[j - 1] - ppl[j])
        found[k] = np.exp(group[j] if j == 0 else group[j - 1] + min(w, 1.0) * (group[j] - group[j - 1]))
    return found


@dataclass(frozen=True)
class DoubleDescent:
    """The tokens that one model unlearns, followed through models of all sizes."""

    reference: str
    """The model whose upward tokens they are."""
    selected_M: NDArray[np.bool_]
    traced: pd.DataFrame
    """As from `trace`."""
    summary: pd.DataFrame
    """A row per model: upward_share of these tokens there, first_ppl, peak_ppl, last_ppl, ppl_at_peak, rise, fall."""

    def table(self) -> pd.DataFrame:
        """The summary."""
        return self.summary


def double_descent(
    nll: Mapping[str, ArrayLike],
    reference: str,
    start: int | float = 0.1,
    ppl: Mapping[str, ArrayLike] | None = None,
    adjust: str | None = None,
    at: Mapping[str, ArrayLike] | None = None,
    least_rise: float = 0.02,
) -> DoubleDescent | None:
    """The tokens upward in ``reference``, traced through all models; None where it has none.

    ``fall`` is peak ÷ last perplexity of the group less one, from ``start`` on, where the group rose to that peak by more
    than ``least_rise`` of its perplexity; NaN where it did not, since a loss that only falls unlearns nothing. Over 0 where a
    model learns again what it had unlearned, the double descent of docs/methods.md §5. ``rise`` is peak ÷ the lowest before
    it less one. ``ppl`` is as in `trace`; ``at`` places each model's checkpoints as
    ``at_C`` of `classify_trends` does. In the reference itself the group rises by selection, part of
    which is noise; the evidence is in the other models.
    """
    at = at or {}
    trend = classify_trends(nll[reference], start, adjust=adjust, at_C=at.get(reference))["trend"]
    selected = (trend == "upward").to_numpy()
    if not selected.any():
        return None
    traced = trace(nll, selected, ppl)
    rows = []
    for model, frame in traced.groupby("model", sort=False):
        matrix, places = checked_losses(nll[str(model)], at.get(str(model)))
        column = start_column(start, places)
        frame = frame.iloc[column:]
        trend = classify_trends(matrix[selected], column, adjust=adjust)["trend"]
        peak, rise = _peak_after_a_rise(frame)
        last = frame["group_ppl"].iloc[-1]
        rows.append(
            {
                "model": model,
                "tokens": int(selected.sum()),
                "upward_share": float((trend == "upward").mean()),
                "first_ppl": frame["group_ppl"].iloc[0],
                "peak_ppl": peak["group_ppl"],
                "last_ppl": last,
                "ppl_at_peak": peak["ppl"],
                "rise": rise,
                "fall": peak["group_ppl"] / last - 1 if rise > least_rise else np.nan,
            }
        )
    return DoubleDescent(reference, selected, traced, pd.DataFrame(rows))


def _peak_after_a_rise(frame: pd.DataFrame) -> tuple[pd.Series, float]:
    """The checkpoint that lies highest above the lowest before it, and by what share of that one's perplexity."""
    group_C = frame["group_ppl"].to_numpy()
    rise_C = group_C / np.minimum.accumulate(group_C) - 1
    return frame.iloc[int(rise_C.argmax())], float(rise_C.max())
