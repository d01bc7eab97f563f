"""What a run's manifest says of it: its study, its averagers, its position weighting, whose mixtures it scored.

The one place where analysis reads these facts. The store writes them under the keys `study`, `averagers`,
`position_weighting` and `mixtures`. Manifests without a key come from before it was written: there, and only there, the
fact is derived from the stored configuration, by the rule that stands at the function.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Manifest = Mapping[str, Any]

STUDIES = ("budget", "averaging", "temporal", "position_weighting", "trajectories")
"""The studies of trajlab's own experiments; a package from outside may add others."""


class Weighting(NamedTuple):
    """Which positions of the context training weighted down: those from ``first`` to ``last`` (1-based), × ``factor``."""

    weighting: str
    factor: float | None
    first: int | None
    last: int | None


def study(manifest: Manifest) -> str | None:
    """What the run is a study of; None for a run that belongs to none.

    A manifest without the key is judged by its configuration, the first that applies: a model that was evaluated and not
    trained (no seed, or the key `series`) is one of trajectories; a run whose folder is named by its position weighting,
    of position weighting; one that records position blocks, of the temporal law; one that sees its text more than once,
    of the budget; one with averagers, of averaging.
    """
    if "study" in manifest:
        return str(manifest["study"]) if manifest["study"] else None
    if manifest.get("seed") is None or "series" in manifest:
        return "trajectories"
    config = manifest.get("config") or {}
    if "loss.position_weighting" in (config.get("run_keys") or ()):
        return "position_weighting"
    if any(_last_word(node) == "PositionBlocks" for node in _callbacks(config)):
        return "temporal"
    if not single_pass(manifest):
        return "budget"
    return "averaging" if averagers(manifest) else None


def averages_lead(manifests: Sequence[Manifest]) -> bool:
    """Whether what weight averages gained is the first thing to tell of these runs: not where they are a study of something else."""
    return all(study(m) in (None, "averaging") for m in manifests)


def single_pass(manifest: Manifest) -> bool:
    """Whether the configuration lets the run see no token twice; true also where it does not say how many it has."""
    config = manifest.get("config") or {}
    unique = (config.get("data") or {}).get("unique_tokens")
    budget = (config.get("intervals") or {}).get("budget_tokens")
    return not (unique and budget and unique < budget)


def averagers(manifest: Manifest) -> list[dict[str, Any]]:
    """The averages that were kept beside the raw weights: name, kind, window_tokens, and what else the manifest says.

    ``name`` is the variant's in the tables; ``kind`` lawa, ema, swa, merge or a word of a plug-in's own; ``window_tokens`` is
    None where the window grows. Without the key, what the configuration gave the averagers of trajlab's own.
    """
    if "averagers" in manifest:
        return [dict(entry) for entry in manifest["averagers"] or ()]
    config = manifest.get("config") or {}
    nodes = [node["averagers"] for node in _callbacks(config) if "averagers" in node]
    listed = [a for node in nodes for a in (node.values() if isinstance(node, Mapping) else node) if a]
    return [_derived_averager(node, config) for node in listed]


def _derived_averager(node: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A window is k snapshots, or 1/(1 − decay) updates of an EMA."""
    kind, k = _last_word(node), node.get("k", 5)
    decay = node.get("decay", 0.999) if kind == "ema" else 0.0
    names = {"lawa": f"lawa{k}", "ema": f"ema{decay:g}", "merge": f"merge{k}_{node.get('decay', 'linear')}"}
    per_step = config["data"]["windows_per_step"] * config["data"]["context"]
    every = node.get("every_tokens") or (node.get("every_steps") or 1) * per_step
    length = {"lawa": k, "merge": k, "ema": 1 / (1 - decay)}.get(kind)
    return {
        "name": str(node.get("name") or names.get(kind, kind)),
        "kind": kind,
        "window_tokens": None if length is None else length * every,
    }


def position_weighting(manifest: Manifest) -> Weighting | None:
    """How the run weighted positions in training (``none``: all alike); None where neither key nor configuration says.

    Without the key, head, body and tail are the first tenth, the middle and the last tenth of the context, as trajlab cut
    them then.
    """
    if "position_weighting" in manifest:
        entry = manifest["position_weighting"]
        return Weighting(str(entry["weighting"]), entry["factor"], entry["first"], entry["last"]) if entry else None
    config = manifest.get("config") or {}
    loss = config.get("loss") or {}
    if "position_weighting" not in loss:
        return None
    name, factor = str(loss["position_weighting"]), loss.get("position_factor")
    if name not in _TENTHS:
        return Weighting(name, factor, None, None)
    start, stop = (round(share * config["data"]["context"]) for share in _TENTHS[name])
    return Weighting(name, factor, start + 1, stop)


_TENTHS = {"head": (0.0, 0.1), "body": (0.1, 0.9), "tail": (0.9, 1.0)}
"""Shares of the context, for manifests that do not state positions."""


def mixture_family(manifest: Manifest) -> str | None:
    """The family of models whose mixtures the run scored, None where it scored none; only one family's texts compare.

    Without the key `mixtures` it is the name of the file of mixtures, which trajlab named by the family then.
    """
    if "mixtures" in manifest:
        entry = manifest["mixtures"]
        return str(entry["family"]) if entry else None
    measures = (manifest.get("config") or {}).get("measures") or {}
    file = (measures.get("sequences") or {}).get("mixture")
    return Path(file).stem if file else None


def window_overlaps(manifest: Manifest) -> dict[str, int]:
    """By validation split, how many windows in a row share text with a given one: context / stride, rounded up; 1: none.

    Splits that the configuration does not describe are left out; so are series of published checkpoints, where no token
    counts twice.
    """
    data = (manifest.get("config") or {}).get("data") or {}
    context = data.get("context")
    if not context or "intervals" not in (manifest.get("config") or {}):
        return {}
    strides = {name: (split or {}).get("stride") or context for name, split in (data.get("validation") or {}).items()}
    return {name: -(-context // stride) for name, stride in strides.items()}


def vocabulary(manifest: Manifest) -> int | None:
    """Entries of the vocabulary over which the loss is a mean; None where the manifest doesn't state them."""
    config = manifest.get("config") or {}
    sizes = ((config.get(group) or {}).get("vocab_size") for group in ("model", "tokenizer"))
    return next((size for size in sizes if isinstance(size, int)), None)


def parameters_by_run(manifests: Iterable[Manifest]) -> dict[tuple[str, str], float]:
    """Parameter count of each (experiment, run); NaN where the manifest doesn't state it."""
    return {(m["experiment"], m["run"]): float(m.get("parameters") or np.nan) for m in manifests}


def _callbacks(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [node for node in (config.get("callbacks") or {}).values() if isinstance(node, Mapping)]


def _last_word(node: Mapping[str, Any]) -> str:
    """The class or function that a node of the configuration names, without its module."""
    return str(node.get("_target_", "")).rsplit(".", 1)[-1]
