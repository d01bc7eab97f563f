"""From a composed configuration to the dataclass of its task, or one list of everything that is wrong with it."""

import inspect
import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from trajlab.config.schema import POSITION_WEIGHTINGS, WINDOW_OFFSETS, TrainConfig
from trajlab.errors import ConfigProblems

T = TypeVar("T")


def parse(config: DictConfig, cls: type[T]) -> T:
    """The part of a composed config that ``cls`` describes. Raises ConfigProblems with every problem found."""
    names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    missing = [key for key in sorted(OmegaConf.missing_keys(config)) if key.split(".")[0] in names]
    problems = [f"{key} is not given; write {key}=…{_hint(key)}" for key in missing]
    open_nodes = [f.name for f in fields(cls) if typing.get_type_hints(cls)[f.name] is DictConfig]  # type: ignore[arg-type]
    for group in open_nodes:
        problems += _target_problems(config.get(group), group)
    if problems:
        raise ConfigProblems(problems)
    values = {name: config[name] for name in names if name in config}
    plain = {k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in values.items()}
    parsed = _build(cls, plain | {k: config[k] for k in open_nodes}, "", problems)
    if not problems and isinstance(parsed, TrainConfig):
        problems += _cross_check(parsed)
    if problems:
        raise ConfigProblems(problems)
    return parsed


def _hint(key: str) -> str:
    return " (an experiment sets it: experiment=tinystories_budget)" if key == "name" else ""


def _build(cls: type, values: dict[str, Any], prefix: str, problems: list[str]) -> Any:
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    problems += [
        f"{prefix}{key} is not a key; the keys here are {', '.join(known)}" for key in values if key not in known
    ]
    arguments = {}
    for name, spec in known.items():
        if hints[name] is DictConfig:
            arguments[name] = values[name]
        elif name in values:
            arguments[name] = _value(values[name], hints[name], spec.metadata.get("low"), f"{prefix}{name}", problems)
        elif spec.default is MISSING and spec.default_factory is MISSING:
            problems.append(f"{prefix}{name} is not given")
    complete = all(name in arguments or spec.default is not MISSING for name, spec in known.items())
    return cls(**arguments) if complete else None


def _value(value: Any, kind: Any, low: float | None, key: str, problems: list[str]) -> Any:
    """The value as its declared type, or a problem."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and type(None) in options:
        return None
    kind = next(o for o in options if o is not type(None))
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        return _build(typing.cast(type, kind), value, f"{key}.", problems)
    if origin is dict and isinstance(value, dict):
        if parts[1] is Any:
            return value
        return {k: _value(v, parts[1], None, f"{key}.{k}", problems) for k, v in value.items()}
    if origin is list and isinstance(value, list):
        return [_value(v, parts[0], None, f"{key}[{i}]", problems) for i, v in enumerate(value)]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if origin or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        problems.append(f"{key}={value!r} must be {_type_name(kind)}")
    elif low is not None and value < low:
        problems.append(f"{key}={value} must be at least {low:g}")
    return value


def _type_name(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(kind) or ("a list" if typing.get_origin(kind) is list else "a group of keys")


def _target_problems(node: Any, key: str) -> list[str]:
    """Targets that don't exist and keys that their signatures lack, here and below."""
    if not isinstance(node, DictConfig):
        return []
    if "_target_" not in node:
        return [p for name, child in node.items_ex(resolve=False) for p in _target_problems(child, f"{key}.{name!s}")]
    try:
        target = get_object(node._target_)
    except Exception as e:
        return [f"{key}._target_={node._target_} can't be imported ({e}); is its package installed?"]
    parameters = inspect.signature(target).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return []
    unknown = [k for k in map(str, node) if not k.startswith("_") and k not in parameters]
    return [f"{key}.{k} is not a key of {node._target_}; the keys are {', '.join(parameters)}" for k in unknown]


def _cross_check(c: TrainConfig) -> list[str]:
    """What no field can see by itself."""
    problems = []
    tokens_per_step = c.tokens_per_step
    if c.intervals.budget_tokens < tokens_per_step:
        problems.append(
            f"intervals.budget_tokens={c.intervals.budget_tokens:,} is under one optimizer step of {tokens_per_step:,} "
            "tokens (data.windows_per_step × data.context); raise the budget or shrink the step"
        )
    if not c.tokenizer.path and c.tokenizer.vocab_size > c.model.get("vocab_size", c.tokenizer.vocab_size):
        problems.append(
            f"tokenizer.vocab_size={c.tokenizer.vocab_size} is larger than model.vocab_size={c.model.vocab_size}; "
            "make them equal"
        )
    if c.data.validation_fraction >= 1:
        problems.append(f"data.validation_fraction={c.data.validation_fraction} must be below 1")
    if c.data.window_offset not in WINDOW_OFFSETS:
        problems.append(f"data.window_offset={c.data.window_offset!r} is none of {', '.join(WINDOW_OFFSETS)}")
    if not c.data.validation:
        problems.append("data.validation names no split; give at least one, e.g. +data.validation.valid.windows=256")
    if c.data.windows_per_step % c.trainer.devices:
        problems.append(
            f"data.windows_per_step={c.data.windows_per_step} must be a multiple of trainer.devices={c.trainer.devices}"
        )
    if c.loss.position_weighting not in POSITION_WEIGHTINGS:
        problems.append(
            f"loss.position_weighting={c.loss.position_weighting!r} is none of {', '.join(POSITION_WEIGHTINGS)}"
        )
    ways = [n for n in ("every_tokens", "marks", "geometric") if getattr(c.intervals, n) is not None]
    if len(ways) != 1:
        problems.append(f"intervals: give one of every_tokens, marks and geometric, got {', '.join(ways) or 'none'}")
    return problems
