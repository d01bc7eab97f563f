"""Evaluates at initialisation and at every due token mark, and records loss, speed and training state."""

import time
from typing import Any

import lightning as L
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from trajlab.evaluation.accumulators import NllSums
from trajlab.evaluation.context import RunCallback
from trajlab.protocols import Interval, LossConsumer, WeightVariants
from trajlab.store.tables import INTERVALS


class IntervalTelemetry(RunCallback):
    """Owns *when* a run is evaluated; is itself the consumer that fills table `intervals` (methods.md §1).

    At a due mark the engine scores every variant of every callback that offers some (`WeightVariants`) and hands the
    losses to every callback that wants them (`LossConsumer`). Losses in nats per token; ``train_loss`` is the mean over
    the interval's steps; ``seconds_train`` excludes evaluation. The columns of training are null at initialisation.
    """

    table = "intervals"

    def __init__(self) -> None:
        self._sums = NllSums()
        self._interval: Interval | None = None
        self._variant = self._split = ""
        self._evaluation_started = 0.0
        self._train_started = 0.0
        self._train: dict[str, float] = {"loss_sum": 0.0, "steps": 0, "seconds": 0.0}
        self._last: dict[str, float | None] = {}

    # ---- when

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The initial weights, unless the run is resumed."""
        if trainer.global_step == 0:
            self._measure(trainer, pl_module, self.run.interval(0))
        self._train_started = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Count the step; evaluate when a mark is due."""
        self._train["loss_sum"] += float(pl_module.train_loss)  # type: ignore[arg-type]
        self._train["steps"] += 1
        interval = self.run.due(trainer.global_step)
        if interval is None:
            return
        self._close_training(pl_module)
        self._measure(trainer, pl_module, interval)
        self._train = {"loss_sum": 0.0, "steps": 0, "seconds": 0.0}
        self._train_started = time.perf_counter()

    def _close_training(self, pl_module: L.LightningModule) -> None:
        steps = self._train["steps"]
        seconds = self._train["seconds"] + time.perf_counter() - self._train_started
        self._last = {
            "train_loss": self._train["loss_sum"] / steps,
            "grad_norm": float(pl_module.grad_norm),  # type: ignore[arg-type]
            "lr": float(pl_module.lr),  # type: ignore[arg-type]
            "seconds_train": seconds,
            "tokens_per_second": steps * self.run.schedule.tokens_per_step / seconds,
        }

    def _measure(self, trainer: L.Trainer, pl_module: L.LightningModule, interval: Interval) -> None:
        callbacks: list[Any] = list(trainer.callbacks)  # type: ignore[attr-defined]
        consumers = [c for c in callbacks if isinstance(c, LossConsumer)]
        averagers = [c for c in callbacks if isinstance(c, WeightVariants)]
        tables = self.run.engine.evaluate(interval, pl_module.model, consumers, averagers)  # type: ignore[arg-type]
        metrics = self._metrics(tables[self.table])
        self.run.latest.update(metrics)
        for logger in trainer.loggers:
            logger.log_metrics({**metrics, "tokens": interval.tokens}, step=interval.step)
        if trainer.is_global_zero:
            for table, rows in tables.items():
                self.run.store.write(table, interval, rows)

    def _metrics(self, rows: pa.Table) -> dict[str, float]:
        named = {}
        for row in rows.select(["variant", "split", "loss"]).to_pylist():
            named[f"{row['split']}/{row['variant']}/loss"] = row["loss"]
        return named | {k: v for k, v in self._last.items() if v is not None}

    # ---- what: LossConsumer

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        """Start the sums of a variant on a split."""
        self._sums.reset()
        self._interval, self._variant, self._split = interval, variant, split
        self._evaluation_started = time.perf_counter()

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        """Add a batch."""
        table_V = self.run.token_bytes_V
        bytes_BT = None if table_V is None else torch.from_numpy(np.asarray(table_V)[tokens_BT.numpy()])
        self._sums.update(nll_BT, mask_BT, bytes_BT)

    def rows(self) -> pa.Table:
        """One row."""
        assert self._interval is not None
        sums = self._sums.compute()
        nll, count, size = float(sums["nll_sum"]), int(sums["token_count"]), int(sums["byte_count"])
        size = self.run.split_bytes.get(self._split, size)
        loss = nll / count
        row = {
            "variant": self._variant,
            "split": self._split,
            "mark_tokens": self._interval.mark_tokens,
            "epoch": self._interval.epoch,
            "unique_tokens": self._interval.unique_tokens,
            "nll_sum": nll,
            "nll_sq_sum": float(sums["nll_sq_sum"]),
            "token_count": count,
            "window_nll": sums["window_nll"].tolist(),
            "byte_count": size or None,
            "loss": loss,
            "ppl": float(np.exp(loss)),
            "bits_per_byte": nll / np.log(2) / size if size else None,
            **{k: self._last.get(k) for k in ("train_loss", "grad_norm", "lr", "seconds_train", "tokens_per_second")},
            "seconds_eval": time.perf_counter() - self._evaluation_started,
        }
        return pa.Table.from_pylist([row], schema=INTERVALS.rows)

    # ---- a checkpoint may fall inside an interval

    def state_dict(self) -> dict[str, Any]:
        """What of the present interval is already done."""
        running = time.perf_counter() - self._train_started if self._train["steps"] else 0.0
        return {"train": {**self._train, "seconds": self._train["seconds"] + running}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        self._train = dict(state_dict["train"])
