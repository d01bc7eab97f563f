"""A run's snapshots: weights with what is needed to build their model again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from trajlab.checkpoints.weights import distinct_tensors, read_metadata, read_weights, write_weights
from trajlab.errors import UserError
from trajlab.models.rebuild import described_by_shape, rebuild
from trajlab.protocols import Interval
from trajlab.store.layout import MODEL_ENTRY, SHAPE_ENTRY, snapshots


def write_snapshot(path: Path, model: nn.Module, interval: Interval, described: Mapping[str, Any] | None) -> None:
    """The model's parameters and persistent buffers, a tied tensor once, in their own precision.

    ``described`` says how to build the model again (`trajlab.store.manifest.model_description`).
    """
    metadata = {"tokens": str(interval.tokens), "step": str(interval.step)}
    if described is not None:
        metadata[MODEL_ENTRY] = json.dumps(described, sort_keys=True)
    write_weights(path, distinct_tensors(model), metadata)


def description(path: Path) -> dict[str, Any]:
    """Class and arguments of a snapshot's model. Raises UserError where the file doesn't say."""
    metadata = read_metadata(path)
    try:
        if MODEL_ENTRY in metadata:
            described = json.loads(metadata[MODEL_ENTRY])
            return {"class": str(described["class"]), "arguments": dict(described["arguments"])}
        described = described_by_shape(json.loads(metadata.get(SHAPE_ENTRY, "{}")))
    except (ValueError, RecursionError, KeyError, TypeError) as e:
        raise UserError(f"snapshot={path}: what it says of its model can't be read ({e})") from e
    if described is None:
        raise UserError(
            f"snapshot={path} doesn't say how to build its model (class and arguments in its metadata); give a file that a "
            "run of trajlab wrote"
        )
    return described


def load_snapshot(path: Path, named: str | None = None) -> nn.Module:
    """The model of a run's snapshot, or of an average of some.

    ``named`` is a class beside trajlab's own that may be built. Raises UserError where the file is absent or broken,
    lacks a tensor, or names another class.
    """
    model, state = rebuild(description(path), named, f"snapshot={path}"), read_weights(path)
    load_tied(model, state, f"snapshot={path}")
    return model


def load_tied(model: nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Fill a model from its `distinct_tensors`: a tied tensor is stored under its first name alone.

    Raises UserError where another tensor is missing, where one has no place and where a shape differs.
    """
    try:
        missing, unexpected = model.load_state_dict(dict(state), strict=False)
    except RuntimeError as e:
        raise UserError(f"{where} doesn't fit its model: {' '.join(str(e).split())[:300]}") from e
    tied = set(model.state_dict()) - set(distinct_tensors(model))
    if absent := sorted(set(missing) - tied):
        raise UserError(f"{where} lacks {absent[:3]}, which its model has; write it again")
    if unexpected:
        raise UserError(f"{where} holds {sorted(unexpected)[:3]}, which its model doesn't have; write it again")


def snapshot_steps(run: Path) -> list[tuple[int, int]]:
    """Tokens and optimizer steps of a run's snapshots, in order. Raises UserError for a file that isn't a snapshot."""
    found = []
    for file in snapshots(run):
        metadata = read_metadata(file)
        if "tokens" not in metadata or "step" not in metadata:
            raise UserError(f"{file} is no snapshot of a run: its metadata lacks tokens and step; move it elsewhere")
        found.append((int(metadata["tokens"]), int(metadata["step"])))
    return found
