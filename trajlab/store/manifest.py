"""What is stored about a run beside its tables: configuration, data, size, versions, machine."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sized
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from trajlab.errors import UserError
from trajlab.store.run_store import RunStore

PACKAGES = ("trajlab", "torch", "lightning", "hydra-core", "tokenizers", "numpy")


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
    """What is stored about a run beside its tables: configuration, data, size, versions, machine."""
    return {
        "config": plain,
        "data": {
            "source": data.source, "warning": data.warning, "fingerprint": data.fingerprint,
            "unique_tokens": data.unique_tokens, "windows": {name: len(w) for name, w in data.splits.items()},
            "entropy_floor": dict(data.entropy_floor),
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "git_commit": _git_commit(),
        "threads": threads,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }  # fmt: skip


def refuse_other_data(store: RunStore, data: DataFacts) -> None:
    """Raise UserError where a stored run was begun on other data."""
    stored = (store.manifest() or {})["data"]
    if stored["fingerprint"] != data.fingerprint:
        raise UserError(
            f"{store.folder} was begun on other data ({stored['source']}, {stored['fingerprint']}) than are here now "
            f"({data.source}, {data.fingerprint}); bring them back or write overwrite=true"
        )


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
