"""The seams where a plug-in plugs in. Shapes: B windows, T positions, D width, V vocabulary.

`LossConsumer`: anything that turns token losses into rows of a table. `WeightVariants`: anything that offers other
weights to evaluate beside the run's own. `CausalLM`: a model that the evaluation engine can score.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa
from torch import Tensor

__all__ = ["CausalLM", "Interval", "LossConsumer", "WeightVariants"]


@dataclass(frozen=True)
class Interval:
    """A point of a run at which it is measured."""

    index: int
    """0 at initialisation."""
    mark_tokens: int
    """The token count that was asked for."""
    tokens: int
    """The token count at which it was met; never below the mark."""
    step: int
    """Optimizer steps done."""
    epoch: float = 0.0
    """Passes over the training tokens done, with the fraction of the present one."""
    unique_tokens: int = 0
    """Different training tokens seen so far."""


@runtime_checkable
class WeightVariants(Protocol):
    """An averager or a series of snapshots: weights to evaluate beside ``raw``."""

    def variants(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """Name and float32 parameters by name; parameters that are not named keep their raw value."""
        ...


@runtime_checkable
class LossConsumer(Protocol):
    """Receives every token's loss of an evaluation and answers with rows of its table.

    For each (variant, split) of an interval: one `begin`, an `update` for each batch in window order, one `rows`.
    """

    table: str
    """Name of the table in the run store."""

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        """Forget the former evaluation."""
        ...

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        """Losses in nats (float32), which of them count (bool), and the ids of the tokens predicted."""
        ...

    def rows(self) -> pa.Table:
        """The rows after reduction over processes, without the columns that the store adds (run, interval, …)."""
        ...


@runtime_checkable
class CausalLM(Protocol):
    """A model as a body and a linear head: logits are ``hidden_BTD @ head_weight_VD.T``.

    A model that bends its logits further (bias, softcap, scale) has ``linear_head = False`` and answers a call with
    logits (B, T, V) of tokens (B, T); it is scored from those.
    """

    vocab_size: int

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """The final hidden states, normalised, of shape (B, T, D)."""
        ...

    @property
    def head_weight(self) -> Tensor:
        """The (V, D) matrix that turns hidden states into logits."""
        ...
