"""Building what a configuration names."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from trajlab.errors import UserError


def build(node: DictConfig, key: str) -> Any:
    """Instantiate a node; a target that refuses its values is a problem with the configuration."""
    try:
        return instantiate(
            node, _convert_="all"
        )  # plain lists and dicts: a config node would turn dataclasses into nodes
    except InstantiationException as e:
        cause = e.__cause__
        if isinstance(cause, (ValueError, TypeError, ModuleNotFoundError)):
            raise UserError(f"{key} ({node.get('_target_')}): {cause}") from e
        raise
