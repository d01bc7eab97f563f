"""While a run trains: where its loss will end, by every law that the evidence carries."""

from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import pyarrow as pa
from torch import Tensor

from trajlab.analysis.forecasting import baselines
from trajlab.analysis.temporal_law import Projection, project
from trajlab.evaluation.accumulators import PositionSums
from trajlab.evaluation.context import FinalLoss, RunCallback
from trajlab.evaluation.engine import RAW
from trajlab.protocols import Interval, TrainingModule
from trajlab.store.tables import FORECASTS


class LiveForecast(RunCallback):
    """Forecasts the run's final loss from the losses so far (docs/methods.md §3), so that a hopeless run can be stopped.

    One row per law goes to table `forecasts`: nats at ``target_tokens`` with a band of 90 %, or why the law was refused. The
    ``law``'s forecast (another's where it is refused, in the order of ``fallbacks``; the laws of the step alone unless given) goes to `RunContext.latest`, which
    the progress line shows, and to the loggers as ``forecast/loss``, ``forecast/low`` and ``forecast/high``.
    """

    table = "forecasts"

    def __init__(
        self,
        every: int = 5,
        split: str | None = None,
        law: str = "temporal",
        fallbacks: tuple[str, ...] | list[str] | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.every = every
        """Forecast at every n-th interval."""
        self.split = split
        """The validation split; None: the first."""
        self.laws = (law, *([b.name for b in baselines(with_lr=False)] if fallbacks is None else fallbacks))
        self._tokens: list[int] = []
        self._losses: list[list[float]] = []
        self._sums: PositionSums | None = None
        self._interval: Interval | None = None
        self._learning_rate: Callable[[int], float] | None = None
        self._unlogged: dict[str, float] = {}

    # ---- what: LossConsumer

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        """Take part where the raw weights are scored on the split."""
        wanted = self.split or next(iter(self.run.engine.splits))
        self._interval = interval if (variant, split) == (RAW, wanted) else None
        self._sums = None

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        """Add a batch."""
        if self._interval is None:
            return
        if self._sums is None:
            self._sums = PositionSums(nll_BT.shape[1])
        self._sums.update(nll_BT, mask_BT)

    def rows(self) -> pa.Table:
        """One row per law where a forecast is due; none at the last interval, when the truth is known."""
        if self._interval is None or self._sums is None:
            return FORECASTS.measured.empty_table()
        sums = self._sums.compute()
        self._tokens.append(self._interval.tokens)
        self._losses.append((sums["nll_sum"] / sums["count"]).tolist())
        if self._interval.index >= len(self.run.schedule) - 1:
            self.run.latest.forecast = None
            return FORECASTS.measured.empty_table()
        if self._interval.index % self.every or self._interval.index == 0:
            return FORECASTS.measured.empty_table()
        return self._forecast()

    def _forecast(self) -> pa.Table:
        marks = [step * self.run.schedule.tokens_per_step for step in self.run.schedule.steps]
        tokens_K, tokens_M = np.array(self._tokens, float), np.array(marks[len(self._tokens) :], float)
        lr_K, lr_M = self._learning_rates(tokens_K), self._learning_rates(tokens_M)
        quick = baselines(costly=False)  # a training run doesn't wait seconds for a fit
        projections = project(np.array(self._losses), tokens_K, tokens_M, lr_K, lr_M, baselines=quick)
        self._publish(projections)
        same = {"target_tokens": marks[-1]}
        rows = [{**same, "law": p.law, **_at_the_end(p), "refused": p.refused or None} for p in projections]
        return pa.Table.from_pylist(rows, schema=FORECASTS.measured)

    def _learning_rates(self, tokens_K: np.ndarray) -> np.ndarray | None:
        """At some tokens; None for a module whose schedule isn't known. The first step's at initialisation."""
        if self._learning_rate is None:
            return None
        return np.array([self._learning_rate(max(int(t), self.run.schedule.tokens_per_step)) for t in tokens_K])

    def _publish(self, projections: list[Projection]) -> None:
        named = {p.law: p for p in projections if not p.refused}
        chosen = next((named[law] for law in self.laws if law in named), None)
        self.run.latest.forecast = None
        if chosen is not None:
            final = FinalLoss(*(float(value_M[-1]) for value_M in (chosen.loss_M, chosen.low_M, chosen.high_M)))
            self._unlogged = {f"forecast/{key}": value for key, value in final._asdict().items()}
            self.run.latest.forecast = final

    # ---- hooks

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Learn the schedule."""
        self._learning_rate = pl_module.learning_rate if isinstance(pl_module, TrainingModule) else None

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Hand a new forecast to the loggers."""
        if self._unlogged:
            for logger in trainer.loggers:
                logger.log_metrics(self._unlogged, step=trainer.global_step)
            self._unlogged = {}

    def state_dict(self) -> dict[str, Any]:
        """The losses so far: a resumed run forecasts from all of them."""
        return {"tokens": self._tokens, "losses": self._losses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with them."""
        self._tokens, self._losses = list(state_dict["tokens"]), [list(row) for row in state_dict["losses"]]


def _at_the_end(projection: Projection) -> dict[str, float | None]:
    """The forecast of the final loss with its band; nulls where the law was refused."""
    ends = zip(("forecast", "low", "high"), (projection.loss_M, projection.low_M, projection.high_M), strict=True)
    return {name: float(value_M[-1]) if np.isfinite(value_M[-1]) else None for name, value_M in ends}
