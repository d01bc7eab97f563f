"""Training a causal language model as a LightningModule.

One batch is one optimizer step: micro-batches, clipping and the learning rate are handled here (manual optimisation),
so that hooks, checkpoints and token counts always fall between steps. Shapes: B windows, S = T + 1, T positions.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from math import isfinite
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from trajlab.evaluation.nll import mean_loss
from trajlab.protocols import CausalLM


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices (embeddings among them) with the optimizer's weight decay; norms, biases and other vectors without.

    Embeddings and the head are marked with ``is_token_table``, for optimizers that treat them apart.
    """
    _mark_token_tables(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2]},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _mark_token_tables(model: nn.Module) -> None:
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding)]
    for table in [*tables, cast(CausalLM, model).head_weight]:
        setattr(table, "is_token_table", True)  # noqa: B010


class LanguageModel(L.LightningModule):
    """A model, its optimizer and its learning rate by tokens.

    It is a `TrainingModule`: after each step ``train_loss``, ``grad_norm`` and ``lr`` hold that step's values, for
    callbacks to read. Where training weighs positions, ``train_loss`` is the weighted mean.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer],
        schedule: Callable[[int], float],
        tokens_per_step: int,
        *,
        micro_batch_windows: int | None = None,
        gradient_clip: float | None = None,
        compile: bool = False,
        position_weights_T: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.tokens_per_step = tokens_per_step
        self.micro_batch_windows = micro_batch_windows
        self.gradient_clip = gradient_clip
        self.position_weights_T = position_weights_T
        """How much each position counts in the training loss; None: all the same."""
        self._make_optimizer = optimizer
        self._schedule = schedule
        # evaluation runs the plain model, so raw and averaged weights go through the same kernels
        hidden = cast(CausalLM, model).hidden
        self.compiled = compile
        """Whether training runs the compiled model."""
        self._body: Callable[[Tensor], Tensor] = torch.compile(hidden) if compile else hidden
        self.train_loss = self.grad_norm = self.lr = float("nan")
        self.update_left_out = False
        """Whether the last step's loss or gradient norm was not finite, so that it changed no weight. An overflow of
        scaled gradients is none: the scaler lowers its factor and goes on."""

    def learning_rate(self, tokens: int) -> float:
        """The rate of the optimizer step that ends at ``tokens``; needs the optimizer, so once training has begun."""
        return float(self._optimizer().param_groups[0]["initial_lr"] * self._schedule(tokens))

    def _optimizer(self) -> LightningOptimizer:
        """The one optimizer, wrapped so that Lightning counts its steps."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        return optimizer

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        return self.model(tokens_BT)

    def configure_optimizers(self) -> Optimizer:
        """The optimizer over decay groups, its base rate kept in ``initial_lr``."""
        optimizer = self._make_optimizer(decay_groups(self.model))
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return optimizer

    def training_step(self, tokens_BS: Tensor, batch_idx: int) -> None:
        """One optimizer step on a batch of windows."""
        optimizer = self._optimizer()
        loss = self._backward(tokens_BS)
        norm = self._clipped_norm()
        factor = self._schedule((self.global_step + 1) * self.tokens_per_step)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.train_loss, self.grad_norm = float(self.trainer.strategy.reduce(loss, reduce_op="mean")), norm
        scaler = self._scaler()
        self.update_left_out = not isfinite(self.train_loss) or not (scaler or isfinite(norm))
        if self.update_left_out and scaler is None:
            optimizer.zero_grad()  # the step below then counts and changes nothing; a scaler leaves it out by itself
        optimizer.step()
        optimizer.zero_grad()
        self.lr = optimizer.param_groups[0]["lr"]

    def _scaler(self) -> torch.amp.GradScaler | None:
        """What multiplies the loss under 16-mixed, so that small gradients don't vanish in float16."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def _clipped_norm(self) -> float:
        """The norm of the gradients before they are clipped to ``gradient_clip``.

        Gradients that a scaler has multiplied are clipped at the limit times that factor: unscaling them here would make
        the precision plugin refuse the optimizer's step.
        """
        scaler = self._scaler()
        scale = float(scaler.get_scale()) if scaler else 1.0
        limit = self.gradient_clip * scale if self.gradient_clip is not None else float("inf")
        return float(nn.utils.clip_grad_norm_(self.model.parameters(), limit)) / scale

    def _backward(self, tokens_BS: Tensor) -> Tensor:
        """Gradients of the mean loss over the batch, summed over micro-batches; the loss.

        With several processes gradients and losses are averaged over them, once, with the last micro-batch. What a
        process has counts by its windows, so that an odd one may lie anywhere.
        """
        total = torch.zeros((), device=tokens_BS.device)
        parts = tokens_BS.split(self.micro_batch_windows or len(tokens_BS))
        windows = self._windows_per_process(tokens_BS)
        for i, part_BS in enumerate(parts):
            with nullcontext() if i == len(parts) - 1 else self._not_yet_averaged():
                hidden_BTD = self._body(part_BS[:, :-1])
                share = len(part_BS) / windows
                weights_BT = self._position_weights(part_BS)
                loss = mean_loss(hidden_BTD, cast(CausalLM, self.model).head_weight, part_BS[:, 1:], weights_BT) * share
                self.manual_backward(loss)
            total += loss.detach()
        return total

    def _windows_per_process(self, tokens_BS: Tensor) -> float:
        """Windows of one optimizer step that each process has on average."""
        if self.trainer.world_size == 1:
            return len(tokens_BS)
        return self.tokens_per_step / (tokens_BS.shape[1] - 1) / self.trainer.world_size

    def _not_yet_averaged(self) -> AbstractContextManager[None]:
        """Gradients stay this process' own within."""
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()

    def _position_weights(self, tokens_BS: Tensor) -> Tensor | None:
        if self.position_weights_T is None:
            return None
        return self.position_weights_T.to(tokens_BS.device).expand(len(tokens_BS), -1)
