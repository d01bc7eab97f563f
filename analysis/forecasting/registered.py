"""Forecasts that can't be rewritten: `register_curves`, `score_registered`.

A registered forecast is a JSON file of its own: value, band, laws, the hash of the losses that it rests on, the time. It is
created once and never overwritten; whoever doubts it hashes the evidence again. It is scored when the losses have come.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from trajlab.analysis.forecasting.default import Outlook, forecast


def evidence_hash(steps: Iterable[float], losses: Iterable[float]) -> str:
    """SHA-256 of the steps and losses seen, as little-endian doubles in the order of their steps."""
    pair = np.column_stack([np.asarray(list(steps), "<f8"), np.asarray(list(losses), "<f8")])
    return hashlib.sha256(pair.tobytes()).hexdigest()


def frozen(o: Outlook, steps: Iterable[float], losses: Iterable[float]) -> dict[str, object]:
    """What is registered of a forecast: the final loss, its band, what it rests on, and when it was made."""
    (low_M, high_M), steps, losses = o.band(), list(steps), list(losses)
    carried = o.laws[o.laws["weight"] > 0.01]
    return {
        "target": float(o.step_M[-1]),
        "registered": float(o.loss_M[-1]),
        "low": float(low_M[-1]),
        "high": float(high_M[-1]),
        "laws": {str(k): round(float(v), 4) for k, v in zip(carried["law"], carried["weight"], strict=True)},
        "seen": float(steps[-1]),
        "points": len(steps),
        "evidence_sha256": evidence_hash(steps, losses),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def register_curves(curves: pd.DataFrame, folder: Path, horizon: float | None = None) -> list[Path]:
    """One file for each curve, ``<curve>@<steps seen>.json``.

    Raises FileExistsError-like ValueError where that forecast is registered already: it can't be rewritten.
    """
    made = forecast(curves, horizon)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, o in made.outlooks.items():
        rows = curves[curves["curve"] == name].dropna(subset=["loss"]).sort_values("step", kind="stable")
        entry = {"curve": name, **frozen(o, rows["step"], rows["loss"])}
        path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}@{entry['seen']:g}.json"
        try:
            with path.open("x") as file:
                json.dump(entry, file, indent=1)
        except FileExistsError as e:
            raise ValueError(f"{path} is registered already and can't be rewritten; forecast at a later step") from e
        paths.append(path)
    return paths


def score_registered(folder: Path, curves: pd.DataFrame) -> pd.DataFrame:
    """registered, low, high, observed, error (registered − observed), inside, evidence, for those whose target was reached.

    ``evidence`` tells whether the losses up to the forecast still are what it was made from: ``same`` or ``changed``. Raises
    FileNotFoundError where nothing is registered.
    """
    entries = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if not entries:
        raise FileNotFoundError(f"{folder}: no registered forecast")
    rows = []
    for entry in entries:
        run = curves[curves["curve"] == entry["curve"]].dropna(subset=["loss"]).sort_values("step", kind="stable")
        if run.empty or run["step"].max() < entry["target"]:
            continue
        observed = float(run[run["step"] >= entry["target"]]["loss"].iloc[0])
        early = run[run["step"] <= entry["seen"]]
        same = evidence_hash(early["step"], early["loss"]) == entry["evidence_sha256"]
        shown = {key: entry[key] for key in ("curve", "seen", "target", "registered", "low", "high")}
        error = entry["registered"] - observed
        inside = entry["low"] <= observed <= entry["high"]
        rows.append(
            {**shown, "observed": observed, "error": error, "inside": inside, "evidence": "same" if same else "changed"}
        )
    columns = ["curve", "seen", "target", "registered", "low", "high", "observed", "error", "inside", "evidence"]
    return pd.DataFrame(rows, columns=columns)
