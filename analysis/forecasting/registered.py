"""Forecasts that can't be rewritten: `register_curves`, `score_registered`; of a stored run `freeze`, `score_run`.

A registered forecast is a JSON file of its own: value, band, laws, the hash of the losses that it rests on, the time. It is
created once and never overwritten; whoever doubts it hashes the evidence again. It is scored when the losses have come.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
        "spread": float(o.spread_M[-1]),
        "known": o.situation.known,
        "ahead": o.situation.ahead,
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
        if not freeze(path, entry):
            raise ValueError(f"{path} is registered already and can't be rewritten; forecast at a later step")
        paths.append(path)
    return paths


def freeze(path: Path, entry: Mapping[str, object]) -> bool:
    """Write the entry whole, or leave what is there: whether it was written. A kill leaves one or the other, no half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(entry, indent=1))
        os.link(beside, path)  # fails where the name is taken, unlike a rename
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def read_frozen(path: Path) -> dict[str, Any]:
    """A registered forecast. Raises ValueError where the file is none."""
    try:
        entry = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise ValueError(f"{path} can't be read ({e}); restore it or remove it") from e
    needed = ("target", "registered", "low", "high", "seen", "points", "evidence_sha256")
    if not isinstance(entry, dict) or (absent := [key for key in needed if key not in entry]):
        raise ValueError(
            f"{path} is no registered forecast: it lacks {absent[0] if isinstance(entry, dict) else 'all'}"
        )
    return entry


SCORES = "scores.json"
"""What `score_run` writes beside the forecasts of a run."""


def score_run(folder: Path, steps: Iterable[float], losses: Iterable[float]) -> pd.DataFrame:
    """A finished run's registered forecasts beside its last loss: share, registered, low, high, observed, error, inside, …

    ``steps`` and ``losses`` are all that the run measured. The table is written to ``registered/scores.json`` too. Forecasts for
    another end than the last step are left out.
    """
    step_K, loss_K = np.asarray(list(steps), float), np.asarray(list(losses), float)
    rows = []
    for path in sorted((folder / "registered").glob("at_*.json")):
        entry = read_frozen(path)
        if entry["target"] == step_K[-1]:
            early_K = step_K <= entry["seen"]
            same = evidence_hash(step_K[early_K], loss_K[early_K]) == entry["evidence_sha256"]
            rows.append({"share": entry.get("share"), **_scored(entry, float(loss_K[-1]), same)})
    table = pd.DataFrame(rows)
    if rows:
        beside = folder / "registered" / f".{SCORES}.{os.getpid()}"
        beside.write_text(json.dumps(table.to_dict("records"), indent=1))
        beside.replace(folder / "registered" / SCORES)
    return table


def _scored(entry: Mapping[str, Any], observed: float, same: bool) -> dict[str, object]:
    """An entry beside what came; z is the error in units of the forecast's own spread, which recalibration uses."""
    shown = {key: entry.get(key) for key in ("seen", "target", "made", "registered", "low", "high", "known", "ahead")}
    error, spread = entry["registered"] - observed, entry.get("spread")
    inside = bool(entry["low"] <= observed <= entry["high"])
    scored = {"observed": observed, "error": error, "inside": inside, "evidence": "same" if same else "changed"}
    return {**shown, **scored, "z": -error / spread if spread else None}


def score_registered(folder: Path, curves: pd.DataFrame) -> pd.DataFrame:
    """registered, low, high, observed, error (registered − observed), inside, evidence, for those whose target was reached.

    ``evidence`` tells whether the losses up to the forecast still are what it was made from: ``same`` or ``changed``. Raises
    FileNotFoundError where nothing is registered.
    """
    entries = [read_frozen(path) for path in sorted(folder.glob("*.json"))]
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
        rows.append({"curve": entry["curve"], **_scored(entry, observed, same)})
    columns = ["curve", "seen", "target", "registered", "low", "high", "observed", "error", "inside", "evidence"]
    return pd.DataFrame(rows, columns=columns)
