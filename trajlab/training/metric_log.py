"""What the loggers of a run are given: its configuration, every optimizer step, every evaluation."""

from collections.abc import Mapping
from typing import Any

import lightning as L

from trajlab.evaluation.context import RunCallback, training_module


class MetricLog(RunCallback):
    """Hands numbers to the Trainer's loggers under names that stay (docs/loggers.md).

    ``train/loss``, ``train/grad_norm`` and ``train/lr`` at every step; ``<split>/loss`` and ``<split>/<variant>/loss`` at
    every interval, with the interval's means of training as ``interval/…``. ``tokens`` stands beside them. The step that a
    logger is given is the optimizer step.
    """

    order = 1  # after the evaluation

    def __init__(self, hyperparameters: Mapping[str, Any]) -> None:
        self._hyperparameters = hyperparameters
        """Keys and values of the configuration, nested as it is."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The configuration, and the losses of the initial weights; a resumed run goes on where it was."""
        for logger in trainer.loggers:
            if trainer.global_step and hasattr(logger, "resume"):
                logger.resume(trainer.global_step)
            logger.log_hyperparams(dict(self._hyperparameters))
        if trainer.global_step == 0:
            self._log(trainer, self._evaluated())

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """The step, and the interval where one ends with it."""
        module = training_module(pl_module)
        step = {"train/loss": module.train_loss, "train/grad_norm": module.grad_norm, "train/lr": module.lr}
        due = self.run.due(trainer.global_step) is not None
        self._log(trainer, {k: float(v) for k, v in step.items()} | (self._evaluated() if due else {}))

    def _evaluated(self) -> dict[str, float]:
        return self.run.latest.metrics()

    def _log(self, trainer: L.Trainer, metrics: Mapping[str, float]) -> None:
        tokens = trainer.global_step * self.run.schedule.tokens_per_step
        for logger in trainer.loggers if metrics else ():
            logger.log_metrics({**metrics, "tokens": tokens}, step=trainer.global_step)
