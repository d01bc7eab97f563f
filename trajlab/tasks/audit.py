"""``task=audit``: is a series of checkpoints what it says?

First what costs nothing: names, sizes and hashes of files, configuration and tokenizer. Then, unless ``weights=false``,
every tensor: digest, norm, distance to the first and to the former checkpoint (table `tensors`). Each fault is named; where
there is one, the exit status is 1.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
from omegaconf import DictConfig

from trajlab.checkpoints.audit.fault import Fault
from trajlab.checkpoints.audit.listing_faults import listing_faults
from trajlab.checkpoints.audit.tensor_facts import Facts, distance, read_facts
from trajlab.checkpoints.audit.tensor_faults import Audited, tensor_faults
from trajlab.checkpoints.sources import (
    Checkpoint,
    CheckpointSeries,
    HubSeries,
    InOrder,
    RunSeries,
    expanded_steps,
    on_disk,
    prefetched,
)
from trajlab.config.parse import Configured, configured
from trajlab.config.schema import AuditConfig
from trajlab.errors import UserError
from trajlab.store.manifest import now
from trajlab.store.run_store import RunStore
from trajlab.store.tables import TENSORS
from trajlab.terminal import say


class FaultsFound(UserError):
    """The series is not what it says."""


def audit(config: DictConfig) -> None:
    """Look for faults, store what was seen, and raise FaultsFound where there are any."""
    asked = configured(config, AuditConfig)
    checked = asked.checked
    run = f"{checked.model.name}-audit"
    store = RunStore.below(checked.runs_dir, checked.name, run, None)
    series: CheckpointSeries = asked.build("model.series")
    with store.lock(), on_disk(str(store.folder)):
        store.begin(asked.plain, overwrite=store.manifest() is not None)
        store.update_manifest(status="running", started=now(), config=asked.plain)
        checkpoints = series.checkpoints()
        faults = cheap_faults(series)
        if checked.weights:
            told = {(f.kind, frozenset(f.revisions)) for f in faults}
            gone = {r for f in faults if f.kind == "missing" for r in f.revisions}
            audited, broken = _tensors(store, series, [c for c in checkpoints if c.revision not in gone])
            found = [*broken, *tensor_faults(audited)]
            faults += [f for f in found if (f.kind, frozenset(f.revisions)) not in told]
        _finish(asked, store, series, faults)
    if faults:
        raise FaultsFound(
            f"{series.name}: {len(faults)} fault{'s' if len(faults) > 1 else ''} in {len(checkpoints)} checkpoints:\n"
            + "\n".join(f"  - {f}" for f in faults)
        )
    say(f"{series.name}: no fault in {len(checkpoints)} checkpoints")


def cheap_faults(series: CheckpointSeries) -> list[Fault]:
    """What shows without reading a weight; nothing of series that have no listing (a run's snapshots)."""
    listing = getattr(series, "listing", None)
    if listing is None:
        return []
    steps = getattr(series, "steps", None)
    asked = expanded_steps(steps) if steps is not None else None
    return listing_faults(listing(), getattr(series, "pattern", None), asked)


def _tensors(
    store: RunStore, series: CheckpointSeries, checkpoints: Sequence[Checkpoint]
) -> tuple[list[Audited], list[Fault]]:
    """Facts of every checkpoint, stored as table `tensors` as they come; and those that can't be brought or read."""
    broken: list[Fault] = []

    def skip(checkpoint: Checkpoint, error: UserError) -> None:
        broken.append(Fault("broken", (checkpoint.revision,), f"it can't be read: {error}"))

    if isinstance(series, RunSeries):
        return _read(store, [(c, series.weights(c)) for c in checkpoints], skip), broken
    absent = None if isinstance(series, HubSeries) else skip  # what a network doesn't bring is no fault of the series
    with closing(prefetched(series, InOrder(checkpoints), absent)) as coming:
        return _read(store, ((wanted.checkpoint, folder) for wanted, folder in coming), skip), broken


def _read(
    store: RunStore, coming: Iterable[tuple[Checkpoint, Path]], skip: Callable[[Checkpoint, UserError], None]
) -> list[Audited]:
    audited: list[Audited] = []
    for checkpoint, folder in coming:
        try:
            facts = read_facts(folder)
        except UserError as e:
            skip(checkpoint, e)
            continue
        before = audited[-1].facts if audited else None
        first = audited[0].facts if audited else None
        store.write(TENSORS.name, checkpoint.interval, _rows(facts, first, before))
        audited.append(Audited(checkpoint.revision, facts))
    return audited


def _rows(facts: Facts, first: Facts | None, before: Facts | None) -> pa.Table:
    rows = [
        {
            "tensor": name,
            "file": f.file,
            "dtype": f.dtype,
            "shape": list(f.shape),
            "digest": f.digest,
            "norm": f.norm,
            "nonfinite": f.nonfinite,
            "distance_first": distance(f, first[name]) if first and name in first else None,
            "distance_previous": distance(f, before[name]) if before and name in before else None,
        }
        for name, f in facts.items()
    ]
    return pa.Table.from_pylist(rows, schema=TENSORS.rows)


def _finish(asked: Configured[AuditConfig], store: RunStore, series: CheckpointSeries, faults: Sequence[Fault]) -> None:
    entries = [{"kind": f.kind, "revisions": f.revisions, "words": f.words, "tensors": f.tensors} for f in faults]
    store.write_config(asked.yaml)
    store.update_manifest(status="finished", finished=now(), config=asked.plain, series=series.name, faults=entries)
