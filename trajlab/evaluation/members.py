"""The choices of config group `callbacks`: what takes part in a run, by what it can do.

One object may be several things: a callback of Lightning (`L.Callback`), a consumer of losses (`LossConsumer`), an
averager (`WeightVariants`). What it is, is asked here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import lightning as L
from omegaconf import DictConfig

from trajlab.config.build import build
from trajlab.config.parse import refusals
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
    built = {str(name): _member(str(name), node) for name, node in callbacks.items() if node}
    for member in built.values():
        if isinstance(member, RunMember):
            member.bind(context)
    return Members(built)


def member_problems(callbacks: DictConfig) -> list[str]:
    """What is wrong with the members that config group `callbacks` names, found by building each on trial."""
    return [p for name, node in callbacks.items() if node for p in refusals(lambda: _member(str(name), node))]  # noqa: B023


def _member(name: str, node: DictConfig) -> object:
    member = build(node, f"callbacks.{name}")
    if not isinstance(member, (L.Callback, LossConsumer, WeightVariants)):
        raise UserError(
            f"callbacks.{name} ({node.get('_target_')}) is neither a Lightning callback nor a LossConsumer nor a "
            "WeightVariants (trajlab.protocols): nothing would ever call it; give its class the methods of one of them"
        )
    return member
