"""A deliberate disturbance of training, to see what survives it."""

from typing import Any, cast

import lightning as L
import torch
from torch import Tensor

from trajlab.evaluation.context import RunCallback
from trajlab.protocols import CausalLM, TrainingModule
from trajlab.rng import seed_of
from trajlab.training.team import gathered


class Disturbance(RunCallback):
    """For ``steps`` optimizer steps from ``start_step`` on: the learning rate times a factor, random tokens, or both.

    A pure function of the step, so a run that is resumed inside it goes on alike. The module must take its rate from
    its groups' ``initial_lr`` at each step, as trajlab's does, or hold it constant; a batch must be a tensor of token
    ids and the module's ``model`` know its ``vocab_size`` where tokens are replaced.
    """

    order = -2  # the rate is back before anything is stored

    def __init__(
        self, start_step: int, steps: int = 10, lr_factor: float = 10.0, random_tokens: float = 0.0, seed: int = 0
    ) -> None:
        if start_step < 0 or steps < 1 or lr_factor <= 0 or not 0 <= random_tokens <= 1:
            raise ValueError(
                "start_step must be at least 0, steps at least 1, lr_factor positive and random_tokens in [0, 1], "
                f"got {start_step}, {steps}, {lr_factor}, {random_tokens}"
            )
        self.start_step, self.steps = start_step, steps
        self.lr_factor = lr_factor
        """1 leaves the rate alone."""
        self.random_tokens = random_tokens
        """Share of a batch's tokens that are replaced by uniformly drawn ones."""
        self.seed = seed
        self._rates: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Disturb the step that comes."""
        if not self.start_step <= trainer.global_step < self.start_step + self.steps:
            return
        if self.lr_factor != 1:
            self._raise_rates(trainer)
        if self.random_tokens:
            generator = torch.Generator().manual_seed(seed_of("disturbance", self.seed) ^ trainer.global_step)
            model = cast(CausalLM, cast(TrainingModule, pl_module).model)
            windows = sum(gathered(len(batch)))
            mine = slice(trainer.global_rank, None, trainer.world_size)
            replace_tokens(batch, self.random_tokens, model.vocab_size, generator, windows, mine)

    def on_train_batch_end(self, *_: Any) -> None:
        """Give the optimizer its rate back."""
        for group, rates in self._rates:
            group.update(rates)
        self._rates = []

    def _raise_rates(self, trainer: L.Trainer) -> None:
        for group in (g for optimizer in trainer.optimizers for g in optimizer.param_groups):
            rates: dict[str, Any] = {key: group[key] for key in ("lr", "initial_lr") if key in group}
            self._rates.append((group, rates))
            group.update({key: rate * self.lr_factor for key, rate in rates.items()})


def replace_tokens(
    tokens_BS: Tensor,
    share: float,
    vocab_size: int,
    generator: torch.Generator,
    windows: int | None = None,
    mine: slice = slice(None),
) -> None:
    """Replace a share of the token ids, in place, by ids drawn uniformly.

    Where the batch is one process' share of ``windows``, ``mine`` says which of them these are: what is drawn for a
    window doesn't depend on the number of processes.
    """
    shape = (windows or len(tokens_BS), *tokens_BS.shape[1:])
    chosen = (torch.rand(shape, generator=generator) < share)[mine]
    drawn = torch.randint(vocab_size, shape, generator=generator, dtype=tokens_BS.dtype)[mine]
    tokens_BS.copy_(torch.where(chosen.to(tokens_BS.device), drawn.to(tokens_BS.device), tokens_BS))
