"""Forecasts made while runs trained, beside what came of them."""

import pandas as pd

from trajlab.analysis.figures.temporal import live_forecasts
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section


def section(runs: Runs) -> Section | None:
    """For every finished run with forecasts: how far off each was. Nothing for a run that is still training."""
    forecasts = runs.table("forecasts")
    if forecasts.empty:
        return None
    scored = score_forecasts(forecasts, runs.intervals)
    if scored.empty:
        return None
    part = Section("Forecasts made during training")
    for experiment, frame in scored.groupby("experiment"):
        own = runs.select(experiment=experiment)
        part.table(
            by_progress(frame),
            f"{experiment}: error of the forecast final loss (nats) by how much of the budget had been seen; means over "
            "forecasts. inside: share whose 90 % band held the final loss, for the default, whose band is calibrated.",
        )
        first = frame[frame["run"] == frame["run"].iloc[0]]
        figure = live_forecasts(first, float(first["final_loss"].iloc[0]), caption=own.caption)
        part.figure(
            figure, f"{experiment}_live_forecast", f"{first['run'].iloc[0]}: the final loss as it was forecast."
        )
    return part


def score_forecasts(forecasts: pd.DataFrame, intervals: pd.DataFrame) -> pd.DataFrame:
    """Forecasts with the loss that the run reached at their target: columns final_loss, error, inside, progress."""
    keys = ["experiment", "run", "variant", "split"]
    reached = intervals[[*keys, "tokens", "loss"]].rename(columns={"tokens": "target_tokens", "loss": "final_loss"})
    scored = forecasts.merge(reached, on=[*keys, "target_tokens"])
    scored["error"] = scored["forecast"] - scored["final_loss"]
    scored["inside"] = (scored["final_loss"] >= scored["low"]) & (scored["final_loss"] <= scored["high"])
    scored["progress"] = scored["tokens"] / scored["target_tokens"]
    return scored


def by_progress(scored: pd.DataFrame) -> pd.DataFrame:
    """One row per fifth of the budget and law: forecasts, refused, mean absolute error, mean error, inside."""
    fifth = pd.cut(scored["progress"], [0, 0.2, 0.4, 0.6, 0.8, 1.0]).map(lambda i: f"{i.left:.0%}–{i.right:.0%}")
    rows = []
    for (progress, law), frame in scored.groupby([fifth, "law"], observed=True, sort=False):
        made = frame.dropna(subset=["forecast"])
        counts = {"forecasts": len(frame), "refused": len(frame) - len(made)}
        off = {"mae": made["error"].abs().mean(), "mean error": made["error"].mean(), "inside": _inside(made, str(law))}
        rows.append({"budget seen": progress, "law": law, **counts, **off})
    return pd.DataFrame(rows)


def _inside(made: pd.DataFrame, law: str) -> float:
    """Share of bands that held; NaN for a law whose band knows only the noise of its evidence."""
    return float(made["inside"].mean()) if law == "default" else float("nan")
