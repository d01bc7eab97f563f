"""The loss consumers of a stored run, built again without running what its files say."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from omegaconf import DictConfig

from trajlab.config.build import build
from trajlab.errors import UserError
from trajlab.models.rebuild import not_plain
from trajlab.protocols import LossConsumer
from trajlab.store.identity import TARGET, own_path
from trajlab.terminal import say

PARTS = ("table", "begin", "update", "rows")


def stored_consumers(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[LossConsumer]:
    """Of the callbacks in a stored configuration, those that turn losses into rows.

    trajlab's own are built with their stored arguments, a foreign one as the present command's callbacks, ``asked``,
    configure it; one that they don't name is left out with a word. Raises UserError for arguments that aren't plain.
    """
    named = {str(n.get(TARGET)): n for n in asked.values() if isinstance(n, DictConfig)}
    for name, node in stored.items():
        target = (node or {}).get(TARGET)
        if target is None:
            continue
        if own_path(target):
            found = _own(name, node, target, named)
        elif target in named:
            found = build(named[target], f"callbacks.{name}")
        else:
            found = None
            say(
                f"warning: callbacks.{name} of the run is {target}, which is not built on a stored file's word; if it writes "
                f"a table, name it in the command: +callbacks.{name}.{TARGET}={target}"
            )
        if isinstance(found, LossConsumer):
            yield found


def _own(name: str, node: Mapping[str, Any], target: str, named: Mapping[str, Any]) -> object:
    """One of trajlab's own consumers; None for a callback of another kind."""
    kind = _class(target) or next((_class(n) for n in named if own_path(n) and _last(n) == _last(target)), None)
    if kind is None or not all(hasattr(kind, part) for part in PARTS):
        return None
    arguments = {k: v for k, v in node.items() if not k.startswith("_")}
    if problem := not_plain(arguments):
        raise UserError(f"the stored run's callbacks.{name}.{problem} is no plain value; it isn't built")
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as e:
        raise UserError(f"the stored run's callbacks.{name} ({target}) can't be built: {e}") from e


def _class(path: str) -> type | None:
    """The class of trajlab at a path, which may be one of an older layout; None where there is none now."""
    module, name = path.rsplit(".", 1)
    if not path.startswith("trajlab."):
        module = f"trajlab.{module}"
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) and found.__module__.startswith("trajlab.") else None


def _last(path: str) -> str:
    return path.rsplit(".", 1)[1]
