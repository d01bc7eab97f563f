"""Forecasts that can't be rewritten: `register_curves`, `score_registered`; of a stored run `freeze`, `score_run`.

A registered forecast is a JSON file of its own: value, band, laws, the hash of the losses that it rests on, the time, and a seal,
the hash of all of these. It is created once and never overwritten; whoever doubts it hashes the evidence and the entry again,
and so does every score: an edited file is told by its seal. It is scored when the losses have come.
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trajlab.analysis.forecasting.default import Outlook, forecast

SEAL = "seal_sha256"
"""The key of an entry's own hash."""


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

    Raises FileExistsError-like ValueError where a forecast is registered already, after the others were written: it can't be rewritten.
    """
    curves = curves.assign(curve=curves["curve"].astype(str))
    made = forecast(curves, horizon)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    taken: list[Path] = []
    for name, o in made.outlooks.items():
        rows = curves[curves["curve"] == name].dropna(subset=["loss"]).sort_values("step", kind="stable")
        entry = {"curve": name, **frozen(o, rows["step"], rows["loss"])}
        path = folder / f"{file_name(name)}@{entry['seen']:g}.json"
        (paths if freeze(path, entry) else taken).append(path)
    if taken:
        others = f"; {len(taken) - 1} more like it" if len(taken) > 1 else ""
        done = f"; {len(paths)} others were registered" if paths else ""
        raise ValueError(
            f"{taken[0]} is registered already and can't be rewritten; forecast at a later step{others}{done}"
        )
    return paths


def file_name(curve: str) -> str:
    """A curve's name where it can be a file's, else one like it that no other curve has."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", curve)[:80]
    return plain if plain == curve else f"{plain}-{hashlib.sha256(curve.encode()).hexdigest()[:8]}"


def seal_of(entry: Mapping[str, Any]) -> str:
    """SHA-256 of an entry without its seal, its keys in order."""
    rest = {key: value for key, value in entry.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def freeze(path: Path, entry: Mapping[str, object]) -> bool:
    """Write the entry whole, or leave what is there: whether it was written. A kill leaves one or the other, no half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps({**entry, SEAL: seal_of(entry)}, indent=1))
        os.link(beside, path)  # fails where the name is taken, unlike a rename
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def read_frozen(path: Path, *others: str) -> dict[str, Any]:
    """A registered forecast. Raises ValueError where the file is none, or has none of ``others`` beside the common keys."""
    try:
        entry = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise ValueError(f"{path} can't be read ({e}); restore it or remove it") from e
    needed = ("target", "registered", "low", "high", "seen", "points", "evidence_sha256", *others)
    if not isinstance(entry, dict) or (absent := [key for key in needed if key not in entry]):
        raise ValueError(
            f"{path} is no registered forecast: it lacks {absent[0] if isinstance(entry, dict) else 'all'}"
        )
    return entry


def state_of(entry: Mapping[str, Any], steps: Iterable[float], losses: Iterable[float]) -> str:
    """Whether a registered forecast still is what it was, given all losses that there are of its run.

    ``same``, ``changed`` where the losses that it rests on are others now, ``rewritten`` where the file was edited. An entry that
    holds its losses is compared with them, to what differs between two ways of adding up the same tokens; else by their hash.
    """
    if SEAL in entry and entry[SEAL] != seal_of(entry):
        return "rewritten"
    step_K, loss_K = np.asarray(list(steps), float), np.asarray(list(losses), float)
    early_K = step_K <= entry["seen"]
    if "losses" in entry:
        now, then = loss_K[early_K], np.asarray(entry["losses"], float)
        return "same" if now.shape == then.shape and np.allclose(now, then, rtol=0, atol=ADDING_UP) else "changed"
    return "same" if evidence_hash(step_K[early_K], loss_K[early_K]) == entry["evidence_sha256"] else "changed"


ADDING_UP = 1e-5
"""Nats by which a loss may differ for being added up by position or over all tokens, in single precision or double."""
SCORES = "scores.json"
"""What `score_run` writes beside the forecasts of a run."""
LATER = 0.01
"""A loss so little beyond the registered end, as a share of it, still is the loss there **(ours)**."""


def score_run(folder: Path, steps: Iterable[float], losses: Iterable[float]) -> pd.DataFrame:
    """A finished run's registered forecasts beside its last loss: share, registered, low, high, observed, error, inside, …

    ``steps`` and ``losses`` are all that the run measured. The table is written to ``registered/scores.json`` too. Forecasts for
    another end than the last step are left out, with a warning, and so are files that can't be read: a run that ends must not fail
    for them.
    """
    step_K, loss_K = np.asarray(list(steps), float), np.asarray(list(losses), float)
    rows = []
    for path in sorted((folder / "registered").glob("at_*.json")):
        try:
            entry = read_frozen(path)
        except ValueError as e:
            warnings.warn(f"not scored: {e}", stacklevel=2)
            continue
        if entry["target"] != step_K[-1]:
            warnings.warn(f"not scored: {path} is for an end at {entry['target']:g}, not {step_K[-1]:g}", stacklevel=2)
            continue
        rows.append({"share": entry.get("share"), **_scored(entry, float(loss_K[-1]), state_of(entry, step_K, loss_K))})
    table = pd.DataFrame(rows)
    if rows:
        beside = folder / "registered" / f".{SCORES}.{os.getpid()}"
        beside.write_text(json.dumps(table.to_dict("records"), indent=1))
        beside.replace(folder / "registered" / SCORES)
    return table


def _scored(entry: Mapping[str, Any], observed: float, state: str) -> dict[str, object]:
    """An entry beside what came; z is the error in units of the forecast's own spread, which recalibration uses."""
    shown = {key: entry.get(key) for key in ("seen", "target", "made", "registered", "low", "high", "known", "ahead")}
    error, spread = entry["registered"] - observed, entry.get("spread")
    inside = bool(entry["low"] <= observed <= entry["high"])
    scored = {"observed": observed, "error": error, "inside": inside, "evidence": state}
    return {**shown, **scored, "z": -error / spread if spread else None}


def score_registered(folder: Path, curves: pd.DataFrame) -> pd.DataFrame:
    """registered, low, high, observed, error (registered − observed), inside, evidence, for those whose target was reached.

    ``evidence`` is what `state_of` says. Raises FileNotFoundError where nothing is registered, ValueError for a file that is none.
    """
    entries = [read_frozen(path, "curve") for path in sorted(folder.glob("*.json"))]
    if not entries:
        raise FileNotFoundError(f"{folder}: no registered forecast")
    rows, names = [], curves["curve"].astype(str)
    for entry in entries:
        run = curves[names == entry["curve"]].dropna(subset=["loss"]).sort_values("step", kind="stable")
        there = run[(run["step"] >= entry["target"]) & (run["step"] <= (1 + LATER) * entry["target"])]
        if there.empty:
            continue
        state = state_of(entry, run["step"], run["loss"])
        rows.append({"curve": entry["curve"], **_scored(entry, float(there["loss"].iloc[0]), state)})
    columns = ["curve", "seen", "target", "registered", "low", "high", "observed", "error", "inside", "evidence"]
    return pd.DataFrame(rows, columns=columns)


def unscored(folder: Path, scored: pd.DataFrame) -> list[str]:
    """Registered forecasts of which `score_registered` had nothing to say yet: curve and target."""
    entries = [read_frozen(path, "curve") for path in sorted(folder.glob("*.json"))]
    done = set(zip(scored["curve"], scored["seen"], scored["target"], strict=True))
    waiting = [e for e in entries if (e["curve"], e["seen"], e["target"]) not in done]
    return [f"{e['curve']} at {e['target']:g}" for e in waiting]
