"""From a composed configuration to what its task is given, or one list of everything that is wrong with it.

`configured` checks and returns a `Configured`, the one object that carries a configuration through a task: the checked
dataclass, the open nodes to build from, the plain form to store.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trajlab.config.build import build, build_all
from trajlab.errors import ConfigProblems, UserError, did_you_mean

T = TypeVar("T")
Check = Callable[[T], Iterable[str]]
"""Something that a task checks by itself: a problem for each thing that is wrong."""


@dataclass(frozen=True)
class Configured(Generic[T]):
    """A configuration that has been checked, in the three forms that a task needs."""

    checked: T
    """Typed values, every problem excluded."""
    config: DictConfig
    """The composed configuration, whose open nodes name classes to build."""

    @cached_property
    def plain(self) -> dict[str, Any]:
        """Resolved values without a class of OmegaConf: what a manifest stores."""
        return cast(dict[str, Any], OmegaConf.to_container(self.config, resolve=True))

    @property
    def yaml(self) -> str:
        """Resolved values as YAML, for people."""
        return OmegaConf.to_yaml(self.config, resolve=True)

    def build(self, key: str) -> Any:
        """What the node at ``key`` names. Raises UserError where its target refuses the values."""
        return build(OmegaConf.select(self.config, key), key)

    def build_all(self, key: str) -> dict[str, Any]:
        """What the nodes below ``key`` name, by name; those set to null are left out."""
        return build_all(OmegaConf.select(self.config, key), key)


def configured(config: DictConfig, cls: type[T], *checks: Check[T]) -> Configured[T]:
    """The checked configuration of a task. Raises ConfigProblems with every problem found.

    ``checks`` see the typed values, once these have no problem by themselves.
    """
    return Configured(parse(config, cls, *checks), config)


def parse(config: DictConfig, cls: type[T], *checks: Check[T]) -> T:
    """The part of a composed config that ``cls`` describes. Raises ConfigProblems with every problem found.

    Values are judged before the targets are imported: a wrong number is answered without waiting for torch.
    """
    parsed = parse_values(config, cls)
    problems = [p for name in _given(config, cls) for p in _target_problems(config._get_node(name), name)]
    if not problems:
        problems = _refused(parsed, checks)
    if problems:
        raise ConfigProblems(list(dict.fromkeys(problems)))
    return parsed


def _given(config: DictConfig, cls: type) -> list[str]:
    return [name for name in typing.get_type_hints(cls) if name in config.keys()]  # noqa: SIM118 (a key set to ??? is not `in` the config)


def parse_values(config: DictConfig, cls: type[T]) -> T:
    """`parse` as far as it goes without importing what the configuration names."""
    hints = typing.get_type_hints(cls)
    given = _given(config, cls)
    try:
        missing = [key for key in sorted(OmegaConf.missing_keys(config)) if key.split(".")[0] in given]
    except OmegaConfBaseException as e:  # a reference that leads nowhere
        raise ConfigProblems([f"{e.full_key}: {str(e).splitlines()[0]}"]) from e
    problems = [f"{key} is not given; write {key}=…{_hint(key)}" for key in missing]
    open_nodes = [name for name in given if hints[name] is DictConfig]
    if problems:
        raise ConfigProblems(problems)
    for name in open_nodes:
        problems += _open_problems(config._get_node(name), name)
    values = {name: config[name] if name in open_nodes else _resolved(config, name, problems) for name in given}
    parsed = _build(cls, values, "", problems)
    if not problems:
        problems += _own_problems(parsed)
    if problems:
        raise ConfigProblems(list(dict.fromkeys(problems)))
    return cast(T, parsed)


def _open_problems(node: Any, key: str) -> list[str]:
    """Numbers of a node that names a class which no class could mean, and references that lead nowhere."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
        return []
    try:
        plain = OmegaConf.to_container(node, resolve=True)
    except OmegaConfBaseException as e:
        return [f"{key}: {str(e).splitlines()[0]}"]
    return [
        f"{k}={v} must be a finite number"
        for k, v in _leaves(plain, key)
        if isinstance(v, float) and not math.isfinite(v)
    ]


def _leaves(value: Any, key: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, child in value.items() for leaf in _leaves(child, f"{key}.{name}")]
    return [(key, value)]


def refusals(attempt: Callable[[], object]) -> list[str]:
    """The problems that an attempt (to build something, to read something) ends with."""
    try:
        attempt()
    except ConfigProblems as e:
        return e.problems
    except UserError as e:
        return [str(e)]
    return []


def _refused(parsed: Any, checks: Iterable[Check[Any]]) -> list[str]:
    return [problem for check in checks for problem in check(parsed)]


def _own_problems(value: Any) -> list[str]:
    """The ``problems()`` of a configuration and of those within it."""
    if isinstance(value, dict):
        return [p for child in value.values() for p in _own_problems(child)]
    if not is_dataclass(value):
        return []
    own = list(value.problems()) if hasattr(value, "problems") else []
    return own + [p for f in fields(value) for p in _own_problems(getattr(value, f.name))]


def _hint(key: str) -> str:
    return " (an experiment sets it: experiment=tinystories_budget)" if key == "name" else ""


def _resolved(config: DictConfig, name: str, problems: list[str]) -> Any:
    """Plain values with every reference followed."""
    try:
        value = config[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as e:
        problems.append(f"{name}: {str(e).splitlines()[0]}")
        return None


def _build(cls: type, values: dict[str, Any], prefix: str, problems: list[str]) -> Any:
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    problems += [
        f"{prefix}{key} is not a key{did_you_mean(key, known)}; the keys here are {', '.join(known)}"
        for key in values
        if key not in known
    ]
    arguments = {}
    for name, spec in known.items():
        if name in values:
            arguments[name] = _value(values[name], hints[name], spec.metadata, f"{prefix}{name}", problems)
        elif spec.default is MISSING and spec.default_factory is MISSING:
            problems.append(f"{prefix}{name} is not given" + (" (series=pythia, hf, …)" if name == "series" else ""))
    complete = all(name in arguments or spec.default is not MISSING for name, spec in known.items())
    return cls(**arguments) if complete else None


def _value(value: Any, kind: Any, metadata: typing.Mapping[str, Any], key: str, problems: list[str]) -> Any:
    """The value as its declared type, or a problem."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(k for k in kinds if k is not type(None))
    mapping = isinstance(value, (dict, DictConfig))
    fitting = [k for k in kinds if mapping == _is_group(k)] or kinds
    kind = next((k for k in fitting if isinstance(k, type) and isinstance(value, k)), fitting[0])
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is DictConfig and mapping:
        return value if isinstance(value, DictConfig) else OmegaConf.create(value)
    if is_dataclass(kind) and mapping:
        return _build(typing.cast(type, kind), value, f"{key}.", problems)
    if origin is dict and mapping:
        return {k: v if parts[1] is Any else _value(v, parts[1], {}, f"{key}.{k}", problems) for k, v in value.items()}
    if origin is list and isinstance(value, list):
        return [_value(v, parts[0], {}, f"{key}[{i}]", problems) for i, v in enumerate(value)]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if origin or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        problems.append(f"{key}={value!r} must be {_type_name(kind)}")
    else:
        problems += _range_problems(value, metadata, key)
    return value


def _is_group(kind: Any) -> bool:
    return is_dataclass(kind) or kind is DictConfig or typing.get_origin(kind) is dict


def _range_problems(value: Any, metadata: typing.Mapping[str, Any], key: str) -> list[str]:
    low, options = metadata.get("low"), metadata.get("options")
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{key}={value} must be a finite number"]
    if low is not None and value < low:
        return [f"{key}={value} must be at least {low:g}"]
    if options is not None and value not in options:
        return [f"{key}={value!r} must be one of {', '.join(options)}{did_you_mean(str(value), options)}"]
    return []


def _type_name(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(kind) or ("a list" if typing.get_origin(kind) is list else "a group of keys")


def _target_problems(node: Any, key: str) -> list[str]:
    """Targets that don't exist and keys that their signatures lack, here and below."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
        return []
    below = [p for name, child in node.items_ex(resolve=False) for p in _target_problems(child, f"{key}.{name!s}")]
    if "_target_" not in node:
        return below
    try:
        target = get_object(node._target_)
        parameters = inspect.signature(target).parameters
    except (HydraException, ImportError, ValueError, TypeError, AttributeError) as e:
        return [f"{key}._target_={node._target_} can't be imported ({e}); is its package installed?"]
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return below
    unknown = [k for k in map(str, node) if not k.startswith("_") and k not in parameters]
    return below + [
        f"{key}.{k} is not a key of {node._target_}{did_you_mean(k, parameters)}; the keys are {', '.join(parameters)}"
        for k in unknown
    ]
