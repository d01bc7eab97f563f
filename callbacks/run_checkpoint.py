"""The state that an interrupted run resumes from."""

from typing import Any

import lightning as L
import torch

from trajlab.checkpoints.resume import not_plain_state
from trajlab.errors import UserError
from trajlab.evaluation.context import RunCallback
from trajlab.training.team import gathered


class RunCheckpoint(RunCallback):
    """Saves ``checkpoints/last.ckpt`` at every due mark, after all other callbacks have written their rows, and where a
    signal asks the run to stop.

    It must stand last among the callbacks (its ``order`` sees to it): a checkpoint promises that everything up to
    its interval is in the store.
    """

    order = 100

    def __init__(self, every_steps: int | None = None) -> None:
        if every_steps is not None and every_steps < 1:
            raise ValueError(f"every_steps={every_steps} must be at least 1, or null")
        self.every_steps = every_steps
        """Save also after every n-th step, for intervals of hours."""
        self._generator_states: list[torch.Tensor] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the global generator, which dropout draws from, where it was in this process."""
        if trainer.global_rank < len(self._generator_states):
            torch.set_rng_state(self._generator_states[trainer.global_rank])

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save if it is time."""
        step = trainer.global_step
        regular = self.run.due(step) is not None or (self.every_steps and step % self.every_steps == 0)
        if regular or self.run.latest.signal is not None:
            self.run.store.save_checkpoint(lambda path: trainer.save_checkpoint(path))
            self.run.latest.saved_step = step

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse a state that a resumed run could only read by running code."""
        for name in ("callbacks", "optimizer_states", "lr_schedulers"):
            if found := not_plain_state(checkpoint.get(name), name):
                raise UserError(
                    f"{found} can't go into a checkpoint: state_dict() may return tensors, numbers, texts, lists and "
                    "dictionaries alone"
                )

    def state_dict(self) -> dict[str, Any]:
        """The state of the global generator, and of those of the other processes."""
        first, *others = gathered(torch.get_rng_state())
        return {"generator": first} | ({"others": others} if others else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until training starts: building things may draw from it."""
        self._generator_states = [state_dict["generator"], *state_dict.get("others", [])]
