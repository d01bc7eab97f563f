"""What is stored about a run beside its tables: configuration, data, size, versions, machine.

Whoever reads a manifest needs no rule of trajlab: what follows from the configuration by such a rule (which positions
are weighted, how long an average's window is) is stored as a fact. A stored configuration is data: `stored_config`
resolves nothing in it.
"""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sized
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf
from torch import nn

from trajlab.config.groups import POSITION_WEIGHTINGS, weighted_positions
from trajlab.config.stored import refuse_foreign_corpora
from trajlab.config.technical import FORMERLY
from trajlab.errors import UserError
from trajlab.store import layout
from trajlab.store.run_store import RunStore, read_manifest

PACKAGES = ("trajlab", "torch", "lightning", "hydra-core", "tokenizers", "numpy", "transformers", "lm-eval")


class DataFacts(Protocol):
    """What a manifest says of a run's data."""

    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def warning(self) -> str | None: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def unique_tokens(self) -> int: ...  # noqa: D102
    @property
    def splits(self) -> Mapping[str, Sized]: ...  # noqa: D102
    @property
    def entropy_floor(self) -> Mapping[str, float]: ...  # noqa: D102


def manifest_entries(plain: dict[str, Any], data: DataFacts, model: nn.Module, threads: int) -> dict[str, Any]:
    """Everything but status, times and what callbacks state about themselves (`Averager.facts`)."""
    return {
        "config": plain,
        "study": plain.get("study"),
        "model": model_description(plain),
        "averagers": [],
        "position_weighting": _position_weighting(plain),
        "mixtures": _mixtures(plain),
        "data": {
            "source": data.source,
            "warning": data.warning,
            "fingerprint": data.fingerprint,
            "unique_tokens": data.unique_tokens,
            "windows": {name: len(w) for name, w in data.splits.items()},
            "entropy_floor": dict(data.entropy_floor),
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "git_commit": _git_commit(),
        "threads": threads,
        "host": platform.node(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def model_description(plain: Mapping[str, Any]) -> dict[str, Any] | None:
    """``class`` and ``arguments`` that the configured model is built from anew; None where it names no class."""
    node = plain.get("model") or {}
    if "_target_" not in node:
        return None
    return {"class": node["_target_"], "arguments": {k: v for k, v in node.items() if not k.startswith("_")}}


def _position_weighting(plain: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which positions' training loss is scaled by what; None where nothing is trained."""
    loss = plain.get("loss") or {}
    if "position_weighting" not in loss:
        return None
    weighting, factor = loss["position_weighting"], loss.get("position_factor")
    positions = weighted_positions(weighting, plain["data"]["context"]) if weighting in POSITION_WEIGHTINGS else ()
    first, last = (positions[0], positions[-1]) if positions else (None, None)
    return {"weighting": weighting, "factor": factor, "first": first, "last": last}


def _mixtures(plain: Mapping[str, Any]) -> dict[str, Any] | None:
    """The family of the models whose mixtures the run scores, and these models, the smaller first; None: it scores none."""
    file = ((plain.get("measures") or {}).get("sequences") or {}).get("mixture")
    if not file:
        return None
    family = Path(file).stem
    return {"family": family, "models": (plain.get("mixtures") or {}).get(family)}


def stored_config(manifest: Mapping[str, Any], named: Iterable[str | None] = (), where: str = "manifest") -> DictConfig:
    """A stored configuration to read from, keys that are younger than the run as the run behaved (`FORMERLY`).

    What looks like an interpolation in it stays the text that it is. ``named`` are the classes of corpora that the present
    command names. Raises UserError where there is no configuration, and where its data would be built by another class.
    """
    if not isinstance(manifest.get("config"), Mapping):
        raise UserError(f"{where} holds no configuration; restore it from a copy")
    refuse_foreign_corpora(manifest["config"], named, where)
    plain = _literal(manifest["config"])
    for key, value in FORMERLY.items():
        section, name = key.split(".")
        if isinstance(plain.get(section), dict):
            plain[section].setdefault(name, value)
    config = OmegaConf.create(plain)
    assert isinstance(config, DictConfig)
    return config


def _literal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _literal(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_literal(v) for v in value]
    # a backslash before a reference would take away the one that is added
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def refuse_other_data(store: RunStore, data: DataFacts) -> None:
    """Raise UserError where a stored run was begun on other data."""
    stored = (store.manifest() or {}).get("data")
    if not isinstance(stored, Mapping) or not {"fingerprint", "source"} <= set(stored):
        raise UserError(f"{store.folder}/{layout.MANIFEST} doesn't say what its data are; restore it from a copy")
    if stored["fingerprint"] != data.fingerprint:
        raise UserError(
            f"{store.folder} was begun on other data ({stored['source']}, {stored['fingerprint']}) than are here now "
            f"({data.source}, {data.fingerprint}); bring them back or write overwrite=true"
        )


def siblings(store: RunStore) -> list[dict[str, Any]]:
    """The manifests of the other runs of the experiment; what can't be read is left out."""
    found = []
    for folder in sorted(store.folder.parent.iterdir()):
        with suppress(UserError):
            if folder != store.folder and (manifest := read_manifest(folder)) is not None:
                found.append(manifest)
    return found


def now() -> str:
    """The time, for manifests."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except Exception:
        return None


def _git_commit() -> str | None:
    """The commit of the checkout that runs, with ``+`` where it has changes; None from an installed package."""
    here = Path(__file__).resolve().parent
    git = ["git", "-C", str(here)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run(
            [*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes.strip() else "")
