"""The seams where a plug-in plugs in. Shapes: B windows, T positions, D width, V vocabulary.

`LossConsumer`: anything that turns token losses into rows of a table. `WeightVariants`: anything that offers other
weights to evaluate beside the run's own. `CausalLM`: a model that can be trained and evaluated; `HeadFlag` is
what it may have besides. `TrainingModule`: what callbacks read of the module that is trained.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa
from torch import Tensor, nn

__all__ = ["CausalLM", "HeadFlag", "Interval", "LossConsumer", "TrainingModule", "WeightVariants"]


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
        """The rows after reduction over processes, without the columns that others know better.

        The engine adds ``variant`` and ``split``, the store ``experiment``, ``run``, ``seed``, ``interval``, ``tokens`` and
        ``step``. A consumer that returns one of these columns keeps its own values.
        """
        ...


@runtime_checkable
class CausalLM(Protocol):
    """A model as a body and a linear head: logits are ``hidden_BTD @ head_weight_VD.T``.

    A model whose head is not a plain matrix (bias, softcap, scale) says so by `HeadFlag`.
    """

    vocab_size: int

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """The final hidden states, normalised, of shape (B, T, D)."""
        ...

    @property
    def head_weight(self) -> Tensor:
        """The (V, D) matrix that turns hidden states into logits."""
        ...


class HeadFlag(Protocol):
    """Optional, of a `CausalLM`: whether its logits are exactly ``hidden_BTD @ head_weight_VD.T``.

    With ``linear_head = False`` the model is called with tokens (B, T) and scored from the logits (B, T, V) that it
    answers with; it can be evaluated, but not trained. A model that doesn't have the flag has a linear head.
    """

    linear_head: bool


class TrainingModule(Protocol):
    """What callbacks read of the LightningModule that is trained (`trajlab.training.language_model.LanguageModel`).

    Not checked by isinstance, which from Python 3.12 on doesn't see what a torch module answers by ``__getattr__``: its
    submodules, and all of a module that is wrapped.

    The three numbers are those of the newest optimizer step, and NaN before the first.
    """

    model: nn.Module
    """The model itself, a `CausalLM`: what is evaluated and stored."""
    train_loss: float
    """Nats per token, before the update."""
    grad_norm: float
    """Before clipping."""
    lr: float

    def learning_rate(self, tokens: int) -> float:
        """The rate of the optimizer step that ends at ``tokens``."""
        ...
