"""Callbacks that bring upon a run what happens to runs: a signal, a gradient that is not finite."""

import os
import signal
from typing import Any

import lightning as L
import pyarrow as pa
from torch import Tensor

from trajlab.evaluation.context import RunCallback
from trajlab.protocols import Interval


class SignalAt(RunCallback):
    """Sends this process a signal during a step, where ``step`` is the number of steps done before."""

    def __init__(self, step: int, name: str, rank: int = 0) -> None:
        self.step, self.name, self.rank = step, name, rank

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if (trainer.global_step, trainer.global_rank) == (self.step, self.rank):
            os.kill(os.getpid(), signal.Signals[self.name])


class SignalBetween(RunCallback):
    """Sends this process a signal after step ``step`` and all that follows it: between two steps."""

    order = 1000

    def __init__(self, step: int, name: str) -> None:
        self.step, self.name = step, name

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.Signals[self.name])


class SignalsWhileEvaluated:
    """A consumer that sends this process SIGTERM twice, so that it stops at once, amid the evaluation of an interval."""

    table = "signals"

    def __init__(self, interval: int) -> None:
        self.interval = interval

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        if interval.index == self.interval:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        pass

    def rows(self) -> pa.Table:
        return pa.table({"sent": [0]})


class SignalAtSetup(RunCallback):
    """Sends this process SIGTERM before the first step."""

    def on_fit_start(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


class NonFiniteGradients(RunCallback):
    """Turns the head's gradient into ``value`` in the steps of ``steps`` (done before), for one seed alone."""

    def __init__(self, steps: list[int], seed: int | None = None, value: str = "NaN") -> None:
        self.steps, self.seed, self.value = steps, seed, float(value)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        def poison(gradient: Tensor) -> Tensor:
            return gradient * self.value if trainer.global_step in self.steps else gradient

        if self.seed is None or self.run.store.seed == self.seed:
            pl_module.model.head_weight.register_hook(poison)
