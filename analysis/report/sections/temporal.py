"""The temporal scaling law: the position law, its parameters along training, forecasts against baselines."""

import numpy as np
import pandas as pd

from trajlab.analysis.figures.temporal import fitted_positions, forecast_curves, parameters_along_training
from trajlab.analysis.forecasting import FRACTIONS
from trajlab.analysis.load import Runs
from trajlab.analysis.position_law import PositionLosses, fit_position_law, position_losses
from trajlab.analysis.report.section import Section
from trajlab.analysis.temporal_law import ThinEvidence, fit_temporal_law, forecast

MIN_INTERVALS = 30
"""Below this many checkpoints a run is no temporal study, and the section stays away."""


def section(runs: Runs) -> Section | None:
    """Laws and forecasts of every densely measured experiment; figures for the first run, tables over all."""
    if runs.positions.empty:
        return None
    raw = runs.positions[runs.positions["variant"] == "raw"]
    dense = [(key, f) for key, f in raw.groupby(["experiment", "split"]) if f["interval"].nunique() >= MIN_INTERVALS]
    if not dense:
        return None
    part = Section("Temporal scaling law")
    for (experiment, split), frame in dense:
        own = runs.select(experiment=experiment)
        if note := _same_corpus(own, str(split)):
            part.text(note)
        _first_run(part, own, frame, f"{experiment}_{split}")
        part.table(
            forecast_table(own.intervals, frame),
            f"{experiment}, {split}: forecasts from the first part of each run, scored on the rest; means over runs that "
            "weren't refused. mse in nats², mae in nats; inside: share of losses within the 90 % band.",
        )
    return part


def _first_run(part: Section, runs: Runs, frame: pd.DataFrame, name: str) -> None:
    run = str(frame["run"].iloc[0])
    losses = position_losses(frame[frame["run"] == run])
    lr = learning_rates(runs.intervals, run, losses.tokens_K)
    _laws(part, losses, lr, name, f"{runs.caption} · {run}", run)
    for fraction in FRACTIONS[1:]:
        result = forecast(losses.loss_KP, losses.tokens_K, fraction, lr, positions=losses.positions_P)
        figure = forecast_curves(losses.tokens_K, losses.loss_KP.mean(1), result, caption=f"{runs.caption} · {run}")
        part.figure(figure, f"{name}_forecast_{round(100 * fraction)}", f"Forecast from {fraction:.0%} of the tokens.")


def _laws(part: Section, losses: PositionLosses, lr: np.ndarray | None, name: str, caption: str, run: str) -> None:
    """The position law of each checkpoint, and the temporal law through them or why there is none."""
    position_law = fit_position_law(losses.loss_KP, losses.positions_P, losses.count_KP)
    law = None
    try:
        law = fit_temporal_law(position_law, losses.tokens_K, lr)
        part.table(law.table(), f"{name}, {run}: coefficients per million tokens; R² {law.r2:.4f}.")
    except ThinEvidence as e:
        part.text(f"{name}, {run}: no temporal law: {e}.")
    positions = fitted_positions(position_law, losses.tokens_K, caption=caption)
    part.figure(positions, f"{name}_position_law", "Position law.")
    parameters = parameters_along_training(position_law, losses.tokens_K, law, caption=caption)
    explained = "The position law's parameters along training: dots, and the temporal law's forms."
    part.figure(parameters, f"{name}_parameters", explained)


def forecast_table(intervals: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """Mean scores over runs by fraction and law, with how many runs each law was refused on."""
    tables = []
    for run, rows in positions.groupby("run"):
        losses: PositionLosses = position_losses(rows)
        lr = learning_rates(intervals, str(run), losses.tokens_K)
        for fraction in FRACTIONS:
            result = forecast(losses.loss_KP, losses.tokens_K, fraction, lr, positions=losses.positions_P)
            tables.append(result.table().assign(run=run))
    table = pd.concat(tables)
    table["refused"] = (table["refused"] != "").astype(int)
    scores = table.groupby(["fraction", "law"], sort=False)
    means = scores[["mse", "mae", "mape", "r2", "final_error", "inside"]].mean()
    return means.assign(runs=scores.size(), refused=scores["refused"].sum()).reset_index()


def learning_rates(intervals: pd.DataFrame, run: str, tokens_K: np.ndarray) -> np.ndarray | None:
    """At each checkpoint of a run; NaN at initialisation, None where it isn't stored."""
    if intervals.empty or "lr" not in intervals:
        return None
    rates = intervals[intervals["run"] == run].groupby("tokens")["lr"].first()
    found = rates.reindex(tokens_K).to_numpy(float)
    return found if np.isfinite(found[1:]).all() else None


def _same_corpus(runs: Runs, split: str) -> str:
    """A split that was to be out of distribution isn't, where the runs fell back to the corpus that it names."""
    for manifest in runs.manifests:
        named = manifest.get("config", {}).get("data", {}).get("validation", {}).get(split, {}).get("source")
        if named == "embedded" and str(manifest.get("data", {}).get("source", "")).startswith("embedded"):
            return (
                f"Split {split} is the training corpus' own: the runs fell back to the embedded corpus that it names."
            )
    return ""
