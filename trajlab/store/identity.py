"""What makes two configurations the same run: the values of their keys, not the places of Python code.

A path into trajlab itself (``_target_: trajlab.averaging.lawa``, ``callbacks.position_loss.PositionLoss`` in older
runs) may name the same thing after a file has moved or a class has got another name, so two such paths differ only
where both names exist side by side today. A path into any other package counts as it is written.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from trajlab.config.technical import FORMERLY, KEEPS, MOVED, TECHNICAL_KEYS

TARGET = "_target_"
OWN_PACKAGES = ("trajlab", "callbacks", "analysis")
"""Where trajlab's own code lies or lay: the last two were packages of their own before they moved into trajlab."""


class Difference(NamedTuple):
    """A key whose values differ; None stands for an absent one too."""

    key: str
    stored: Any
    asked: Any


def differing_keys(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[Difference]:
    """Keys whose values differ and matter, with both values, in the order of the keys.

    A key that one side lacks counts as null; where it has a value on the other side, it still agrees if that value is
    the default of the (own) class that ``asked`` names, or what runs did before there was such a key.
    """
    a, b = _at_todays_places(_flat(stored)), _flat(asked)
    defaults = {**FORMERLY, **dict(_own_defaults(b))}
    keys = [k for k in sorted(a.keys() | b.keys()) if not _technical(k)]
    pairs = [Difference(k, *_filled(k, a, b, defaults)) for k in keys]
    return [d for d in pairs if not _agree(d)]


def _at_todays_places(flat: dict[str, Any]) -> dict[str, Any]:
    """Keys that have moved since (`MOVED`) under their present names; a key that stands there already goes before."""
    moved = {MOVED[k]: v for k, v in flat.items() if k in MOVED}
    return {**moved, **{k: v for k, v in flat.items() if k not in MOVED}}


def own_path(value: object) -> bool:
    """Whether this is a dotted path into trajlab's own code, as it lies today or lay before."""
    return isinstance(value, str) and "." in value and value.split(".")[0] in OWN_PACKAGES


def _filled(key: str, a: dict[str, Any], b: dict[str, Any], defaults: Mapping[str, Any]) -> tuple[Any, Any]:
    stored, asked = a.get(key), b.get(key)
    if key not in a and key in defaults:
        stored = defaults[key]
    if key not in b and key in defaults:
        asked = defaults[key]
    return stored, asked


def _agree(d: Difference) -> bool:
    if d.stored == d.asked or (d.key in KEEPS and d.asked == KEEPS[d.key]):
        return True
    if not (own_path(d.stored) and own_path(d.asked)):
        return False
    module, found = _own_object(d.asked)
    # a value that merely looks like a path, such as the name of a file, is compared as a value
    is_path = d.key.split(".")[-1] == TARGET or found is not None
    former = d.stored.rsplit(".", 1)[1]
    return is_path and (former == d.asked.rsplit(".", 1)[1] or not hasattr(module, former))


def _own_defaults(flat: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys, with their defaults, that the own classes named in a configuration take."""
    for key, value in flat.items():
        if key.split(".")[-1] == TARGET and own_path(value) and callable(found := _own_object(value)[1]):
            for name, parameter in _parameters(found):
                if parameter.default is not parameter.empty:
                    yield key.removesuffix(TARGET) + name, parameter.default


def _parameters(found: Callable[..., Any]) -> Iterator[tuple[str, inspect.Parameter]]:
    try:
        yield from inspect.signature(found).parameters.items()
    except (TypeError, ValueError):  # built in
        return


def _own_object(path: str) -> tuple[object, object]:
    """The module and what it holds under the path's last name; None where there is no such thing in trajlab today.

    Only the paths of the present command are looked up, never those that a stored file names.
    """
    module_name, name = path.rsplit(".", 1)
    if module_name.split(".")[0] != OWN_PACKAGES[0]:
        return None, None
    try:
        module = import_module(module_name)
    except ImportError:
        return None, None
    return module, getattr(module, name, None)


def _technical(key: str) -> bool:
    return any(key == n or key.startswith(f"{n}.") for n in TECHNICAL_KEYS)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted key; a list's places are keys too, so that paths within it are found."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
            value = {str(i): v for i, v in enumerate(value)}
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = None if value == {} else value
    return flat
