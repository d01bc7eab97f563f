"""Loss, gradient norm, rate and time of every optimizer step."""

import time
from bisect import bisect_left
from typing import Any

import lightning as L
import pyarrow as pa

from trajlab.evaluation.context import RunCallback, training_module
from trajlab.protocols import Interval
from trajlab.store.tables import STEPS
from trajlab.training.stopping import Diverged


class StepTelemetry(RunCallback):
    """One row per optimizer step in table `steps`, written when the interval that they lead to is due."""

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._started = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Note the step; hand the rows over when an interval ends."""
        step, module = trainer.global_step, training_module(pl_module)
        self._rows.append(
            {
                "step": step,
                "tokens": step * self.run.schedule.tokens_per_step,
                "train_loss": module.train_loss,
                "grad_norm": module.grad_norm,
                "lr": module.lr,
                "seconds": time.perf_counter() - self._started,
            }
        )
        if (interval := self.run.due(step)) is not None:
            self._write(trainer, interval)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Hand over the rows of an interval that a diverged run will never end."""
        if isinstance(exception, Diverged) and self._rows:
            coming = bisect_left(self.run.schedule.steps, trainer.global_step)
            self._write(trainer, self.run.interval(coming, trainer.global_step))

    def _write(self, trainer: L.Trainer, interval: Interval) -> None:
        if trainer.is_global_zero:
            self.run.store.write("steps", interval, pa.Table.from_pylist(self._rows, schema=STEPS.rows))
        self._rows = []

    def state_dict(self) -> dict[str, Any]:
        """The rows of an interval that is not over."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with them."""
        self._rows = list(state_dict["rows"])
