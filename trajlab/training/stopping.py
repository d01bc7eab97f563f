"""Why a training run ends before its budget: somebody asks it to, or its numbers are no longer finite."""

from typing import Any

import lightning as L

from trajlab import interruption
from trajlab.evaluation.context import RunCallback, training_module
from trajlab.terminal import say
from trajlab.training.team import highest


class AgreeOnSignal(RunCallback):
    """After each step: whether a signal has come, to this process or to another that trains the run.

    A signal reaches one process alone, or each at another moment; what they do about it must happen at the same step.
    """

    order = 99  # before the checkpoint, which is written then

    def on_train_batch_end(self, *_: Any) -> None:
        """Agree."""
        self.run.latest.signal = highest(interruption.received()) or None


class StopOnSignal(RunCallback):
    """Ends a run after the step in which a signal came; what there is to save has been saved by then."""

    order = 101

    def on_train_start(self, *_: Any) -> None:
        """Answer signals ourselves: at SIGTERM Lightning leaves its loop with status 0, before anything is saved."""
        interruption.take_back()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Raise Interrupted where a signal has come."""
        if self.run.latest.signal is not None:
            raise interruption.Interrupted(self.run.latest.signal)


class Diverged(Exception):
    """A training loss or a gradient norm that is not finite, at an optimizer step whose update was left out."""

    def __init__(self, step: int, train_loss: float, grad_norm: float) -> None:
        super().__init__(f"step {step:,}: training loss {train_loss:g}, gradient norm {grad_norm:g}")
        self.step, self.train_loss, self.grad_norm = step, train_loss, grad_norm

    def __reduce__(self) -> tuple[type, tuple[int, float, float]]:
        return type(self), (self.step, self.train_loss, self.grad_norm)


class StopOnDivergence(RunCallback):
    """Ends a run whose numbers are no longer finite, or says so and goes on (``on_nonfinite``: stop | skip).

    The module leaves the update of such a step out in any case (`LanguageModel.update_left_out`), so that what is
    evaluated and saved is finite.
    """

    order = 102

    def __init__(self, on_nonfinite: str) -> None:
        self.on_nonfinite = on_nonfinite
        self._last_skipped = -1

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Raise Diverged, or tell of the first of several such steps in a row."""
        if not getattr(pl_module, "update_left_out", False):
            return
        module = training_module(pl_module)
        found = Diverged(trainer.global_step, module.train_loss, module.grad_norm)
        if self.on_nonfinite == "stop":
            raise found
        if self._last_skipped != found.step - 1:
            say(f"{self.run.store.folder}: {found}; the update is left out (trainer.on_nonfinite=skip)")
        self._last_skipped = found.step
