"""Loss, speed and the state of training at every interval. Shapes: B windows, T positions, W windows of the split."""

import time
from math import isfinite, nan
from typing import Any

import lightning as L
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torchmetrics import Metric

from trajlab.evaluation.context import RunCallback, training_module
from trajlab.protocols import Interval, TrainingModule
from trajlab.store.tables import INTERVALS


class NllSums(Metric):
    """Σ nll, Σ nll², tokens, bytes, and Σ nll of each window, reduced over processes by torchmetrics.

    Sums are float64: at 10⁵ tokens float32 loses the digits that a paired comparison of intervals needs.
    """

    nll_sum: Tensor
    nll_sq_sum: Tensor
    token_count: Tensor
    byte_count: Tensor
    window_nll: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nll_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("nll_sq_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("token_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("byte_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("window_nll", [], dist_reduce_fx="cat")

    def update(self, nll_BT: Tensor, mask_BT: Tensor, bytes_BT: Tensor | None = None) -> None:
        """Add a batch of windows."""
        nll = nll_BT.double() * mask_BT
        self.nll_sum += nll.sum()
        self.nll_sq_sum += (nll * nll).sum()
        self.token_count += mask_BT.sum()
        if bytes_BT is not None:
            self.byte_count += (bytes_BT * mask_BT).sum()
        self.window_nll.append(nll.sum(-1))

    def compute(self) -> dict[str, Tensor]:
        """The sums; ``window_nll`` has shape (W,), in window order."""
        windows = self.window_nll
        return {
            "nll_sum": self.nll_sum,
            "nll_sq_sum": self.nll_sq_sum,
            "token_count": self.token_count,
            "byte_count": self.byte_count,
            "window_nll": torch.cat(windows) if isinstance(windows, list) else windows,
        }


class IntervalTelemetry(RunCallback):
    """The consumer that fills table `intervals` (docs/methods.md §1), with the state of training beside the losses.

    Losses in nats per token; ``train_loss`` is the mean over the interval's steps (those whose loss is finite); ``seconds_train`` is the time of these
    steps, without evaluation and storing. The columns of training are null at initialisation, and in a series of
    published checkpoints, where nothing is trained. The newest numbers go to `RunContext.latest`.
    """

    table = "intervals"
    order = -1  # the interval's training is summed up before its weights are evaluated

    def __init__(self) -> None:
        self._sums = NllSums()
        self._interval: Interval | None = None
        self._variant = self._split = ""
        self._evaluation_started = 0.0
        self._train_started: float | None = None
        """None between the end of an interval and its next step: what is done there is no training."""
        self._train: dict[str, float] = dict(NOTHING_TRAINED)

    # ---- the state of training

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock where it stands still."""
        if self._train_started is None:
            self._train_started = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Count the step; sum up when an interval ends."""
        module = training_module(pl_module)
        self._train["steps"] += 1
        if isfinite(module.train_loss):  # a step without a loss changed no weight and has no part in the mean
            self._train["loss_sum"] += float(module.train_loss)
            self._train["losses"] += 1
        if self.run.due(trainer.global_step) is not None:
            self._close_training(module)

    def _close_training(self, module: TrainingModule) -> None:
        steps, losses, seconds = self._train["steps"], self._train["losses"], self._seconds()
        self.run.latest.training = {
            "train_loss": self._train["loss_sum"] / losses if losses else nan,
            "grad_norm": float(module.grad_norm),
            "lr": float(module.lr),
            "seconds_train": seconds,
            "tokens_per_second": steps * self.run.schedule.tokens_per_step / seconds,
        }
        self._train, self._train_started = dict(NOTHING_TRAINED), None

    def _seconds(self) -> float:
        """Seconds of training in this interval so far."""
        running = 0.0 if self._train_started is None else time.perf_counter() - self._train_started
        return self._train["seconds"] + running

    # ---- LossConsumer

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
        self.run.latest.losses[self._split, self._variant] = loss
        row = {
            "mark_tokens": self._interval.mark_tokens,
            "epoch": self._interval.epoch,
            "unique_tokens": self._interval.unique_tokens,
            "nll_sum": nll,
            "nll_sq_sum": float(sums["nll_sq_sum"]),
            "token_count": count,
            "window_nll": sums["window_nll"].reshape(-1).tolist(),  # torchmetrics makes a number of a single window
            "byte_count": size or None,
            "loss": loss,
            "ppl": float(np.exp(loss)),
            "bits_per_byte": nll / np.log(2) / size if size else None,
            **self.run.latest.training,
            "seconds_eval": time.perf_counter() - self._evaluation_started,
        }
        return pa.Table.from_pylist([row], schema=INTERVALS.measured)

    # ---- a checkpoint may fall inside an interval

    def state_dict(self) -> dict[str, Any]:
        """What of the present interval is already done."""
        return {"train": {**self._train, "seconds": self._seconds()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        stored = state_dict["train"]
        self._train = {**stored, "losses": stored.get("losses", stored["steps"])}  # older checkpoints count steps alone


NOTHING_TRAINED: dict[str, float] = {"loss_sum": 0.0, "losses": 0, "steps": 0, "seconds": 0.0}
