"""What makes two configurations the same run."""

from collections.abc import Mapping
from typing import Any

NEUTRAL_KEYS = (
    "overwrite",
    "study",
    "runs_dir",
    "run_keys",
    "run_dir",
    "logger",
    "callbacks.progress",
    "data.cache_dir",
    "data.hub_timeout",
    "model.series.cache",
    "model.series.cache_dir",
)
"""Keys that change where or how loudly a run is done, not what it computes: a run may be resumed under others."""


def differing_keys(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Keys whose values differ and matter, with both values."""
    a, b = _flat(stored), _flat(asked)
    return [(k, a.get(k), b.get(k)) for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k) and not _neutral(k)]


def _neutral(key: str) -> bool:
    return any(key == n or key.startswith(f"{n}.") for n in NEUTRAL_KEYS)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
