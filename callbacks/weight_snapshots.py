"""The weights at due marks, as safetensors."""

from typing import Any, cast

import lightning as L
from torch import nn

from trajlab.checkpoints.snapshots import write_snapshot
from trajlab.evaluation.context import RunCallback
from trajlab.protocols import Interval


class WeightSnapshots(RunCallback):
    """Writes the model's parameters and persistent buffers, a tied tensor once, in their own precision.

    They are what `task=average`, `task=evaluate` and `task=export` read. Each says how to build its model: class and
    arguments as the run's manifest has them.
    """

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.every = every
        """Keep every n-th interval; the last is always kept."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The initial weights, unless the run is resumed."""
        if trainer.global_step == 0:
            self._save(trainer, pl_module, self.run.interval(0))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """The weights of a due mark."""
        interval = self.run.due(trainer.global_step)
        if interval and (interval.index % self.every == 0 or interval.index == len(self.run.schedule) - 1):
            self._save(trainer, pl_module, interval)

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule, interval: Interval) -> None:
        if trainer.is_global_zero:
            described = (self.run.store.manifest() or {}).get("model")
            model = cast(nn.Module, pl_module.model)
            self.run.store.save_snapshot(interval, lambda path: write_snapshot(path, model, interval, described))
