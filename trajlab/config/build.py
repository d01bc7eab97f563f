"""Building what a configuration names."""

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from trajlab.errors import UserError

REFUSALS = (ValueError, TypeError, KeyError, ModuleNotFoundError)


def build(node: Mapping[str, Any], key: str) -> Any:
    """Instantiate a node; a target that refuses its values is a problem with the configuration."""
    try:
        return instantiate(
            node, _convert_="all"
        )  # plain lists and dicts: a config node would turn dataclasses into nodes
    except InstantiationException as e:
        cause = e.__cause__
        if isinstance(cause, UserError):
            raise cause from e
        if isinstance(cause, REFUSALS):
            raise UserError(f"{key} ({node.get('_target_')}): {cause}") from e
        raise


def build_all(nodes: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Instantiate the nodes below ``key``, by name; those set to null are left out."""
    return {str(name): build(node, f"{key}.{name}") for name, node in nodes.items() if node}
