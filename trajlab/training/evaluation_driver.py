"""*When* a training run is evaluated. *What* is recorded of it, its consumers say; *how*, the engine."""

from typing import Any

import lightning as L

from trajlab.evaluation.context import RunCallback, training_module
from trajlab.evaluation.members import Members
from trajlab.protocols import Interval


class EvaluationDriver(RunCallback):
    """Evaluates at initialisation and at every due token mark, and hands the tables to the store.

    The trainer adds it to every run: it is no choice of the configuration, so that leaving a consumer out stops that
    consumer's table and nothing else. It keeps no state: what is due is a function of the step.
    """

    def __init__(self, members: Members) -> None:
        self._members = members

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The initial weights, unless the run is resumed."""
        if trainer.global_step == 0:
            self._evaluate(trainer, pl_module, self.run.interval(0))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """The weights of a due mark."""
        if (interval := self.run.due(trainer.global_step)) is not None:
            self._evaluate(trainer, pl_module, interval)

    def _evaluate(self, trainer: L.Trainer, pl_module: L.LightningModule, interval: Interval) -> None:
        self.run.latest.losses.clear()
        tables = self.run.engine.evaluate(
            interval,
            training_module(pl_module).model,
            self._members.consumers,
            self._members.averagers,
            precision=trainer.precision_plugin.forward_context,
        )
        if trainer.is_global_zero:
            for table, rows in tables.items():
                self.run.store.write(table, interval, rows)
