"""A model from what a stored file says of it, without running what the file's author chose.

A snapshot and a manifest name a model's class and its arguments. `rebuild` builds trajlab's own models (`OWN`) and the
class that the present command's configuration names, and nothing else: a run folder that somebody sent runs no code.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hydra.utils import get_class
from torch import nn

from trajlab.errors import UserError
from trajlab.models.hf import from_config, from_config_dict
from trajlab.models.llama import LlamaModel

LLAMA = "trajlab.models.llama.LlamaModel"
TRANSFORMERS = "trajlab.models.hf.from_config"
TRANSFORMERS_SHAPE = "trajlab.models.hf.from_config_dict"

OWN: Mapping[str, Callable[..., nn.Module]] = {
    LLAMA: LlamaModel,
    TRANSFORMERS: from_config,
    TRANSFORMERS_SHAPE: lambda **config: from_config_dict(config),
}
"""By the names that stored files give them; a model that moves keeps its former name here."""


def rebuild(described: Mapping[str, Any], named: str | None, where: str) -> nn.Module:
    """The model of ``{"class": …, "arguments": {…}}``, its weights fresh; ``where`` is the file, for messages.

    ``named`` is the class of the present command's configuration. Raises UserError where the class is neither trajlab's
    own nor that one, and where it refuses the arguments.
    """
    path, arguments = described["class"], described["arguments"]
    if path not in OWN and path != named:
        raise UserError(
            f"{where} is of the class {path}, which is not built on a stored file's word; where you trust that class, "
            f"name it in the command (model._target_={path}; for task=evaluate: model.model_class={path})"
        )
    if problem := not_plain(arguments):
        raise UserError(
            f"{where}: the model's argument {problem} is no plain value; it can't be built from a stored file"
        )
    try:
        return OWN[path](**arguments) if path in OWN else get_class(path)(**arguments)
    except (TypeError, ValueError, KeyError, ImportError) as e:
        raise UserError(f"{where}: {path} can't be built from its stored arguments ({e})") from e


def described_by_shape(shape: Mapping[str, Any]) -> dict[str, Any] | None:
    """Class and arguments of the models of older snapshots, which say their shape alone; None for another model."""
    if "transformers" in shape:
        return {"class": TRANSFORMERS_SHAPE, "arguments": dict(shape)}
    return {"class": LLAMA, "arguments": dict(shape)} if "kv_heads" in shape else None


def not_plain(value: Any, key: str = "") -> str | None:
    """The first key below which something would have to be instantiated."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return key or "_target_"
        return next((p for k, v in value.items() if (p := not_plain(v, f"{key}.{k}".strip(".")))), None)
    if isinstance(value, list):
        return next((p for i, v in enumerate(value) if (p := not_plain(v, f"{key}[{i}]"))), None)
    return None
