"""The choices of config group `callbacks`: what takes part in a run, by what it can do.

One object may be several things: a callback of Lightning (`L.Callback`), a consumer of losses (`LossConsumer`), an
averager (`WeightVariants`). What it is, is asked here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import lightning as L
from omegaconf import DictConfig

from trajlab.config.build import build
from trajlab.errors import UserError
from trajlab.evaluation.context import RunContext, RunMember
from trajlab.protocols import LossConsumer, WeightVariants


@dataclass(frozen=True)
class Members:
    """A run's members, by name in the configuration's order."""

    by_name: Mapping[str, object]

    @property
    def hooks(self) -> list[L.Callback]:
        """Callbacks of Lightning."""
        return [m for m in self.by_name.values() if isinstance(m, L.Callback)]

    @property
    def consumers(self) -> list[LossConsumer]:
        """Whatever turns losses into rows, callback or not."""
        return [m for m in self.by_name.values() if isinstance(m, LossConsumer)]

    @property
    def averagers(self) -> list[WeightVariants]:
        """Whatever offers other weights to evaluate, callback or not."""
        return [m for m in self.by_name.values() if isinstance(m, WeightVariants)]


def build_members(callbacks: DictConfig, context: RunContext) -> Members:
    """Build every member that config group `callbacks` names, and bind it to its run.

    Raises UserError for one that is neither a callback nor a consumer nor an averager: it would never be called.
    """
    nodes = {str(name): node for name, node in callbacks.items() if node}
    built = {name: build(node, f"callbacks.{name}") for name, node in nodes.items()}
    for name, member in built.items():
        if not isinstance(member, (L.Callback, LossConsumer, WeightVariants)):
            target = nodes[name].get("_target_")
            raise UserError(
                f"callbacks.{name} ({target}) is neither a Lightning callback nor a LossConsumer nor a WeightVariants "
                "(trajlab.protocols): nothing would ever call it; give its class the methods of one of them"
            )
        if isinstance(member, RunMember):
            member.bind(context)
    return Members(built)
