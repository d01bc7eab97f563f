"""While a run trains: where its loss will end, by the calibrated default and by every law that the evidence carries."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import numpy as np
import pyarrow as pa
from torch import Tensor

from trajlab.analysis.forecasting import baselines
from trajlab.analysis.forecasting.decisions import decide
from trajlab.analysis.forecasting.default import Outlook, Tables, outlook
from trajlab.analysis.forecasting.own_runs import tables_of
from trajlab.analysis.forecasting.registered import freeze, frozen, score_run
from trajlab.analysis.temporal_law import Projection, project
from trajlab.evaluation.accumulators import PositionSums
from trajlab.evaluation.context import FinalLoss, RunCallback
from trajlab.evaluation.engine import RAW
from trajlab.protocols import Interval
from trajlab.store.tables import FORECASTS

MOST_EPOCHS = 4
"""Passes over the same text that change the loss little (Muennighoff et al. 2023, arXiv 2305.16264). The archived runs behind
the bands read fresh text."""


class LiveForecast(RunCallback):
    """Forecasts the run's final loss from the losses so far (docs/forecasting.md), so that a hopeless run can be stopped.

    One row per law goes to table `forecasts`: nats at ``target_tokens`` with a band of 90 %, or why the law was refused. The
    one to trust is ``default``, whose band is calibrated: it alone goes to `RunContext.latest`, which the progress line
    shows, and to the loggers as ``forecast/loss``, ``forecast/low`` and ``forecast/high``; with a ``target`` also the probability
    that the run ends at or under it (``forecast/reaches``), and where a cooldown started now would end (``forecast/cooldown``).
    Of a run that reads its text more than `MOST_EPOCHS` times no band is shown until enough runs of one's own have calibrated it.

    At each share of the budget in ``register`` the default's forecast is frozen into the run's folder, ``registered/``: no later
    step or resumed run rewrites it, and it is scored when the run ends.
    """

    table = "forecasts"

    def __init__(
        self,
        every: int = 5,
        split: str | None = None,
        target: float | None = None,
        register: Sequence[float] = (0.2, 0.4, 0.6),
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        if wrong := [share for share in register if not 0 < share < 1]:
            raise ValueError(f"register: a share of the budget lies between 0 and 1, got {wrong[0]}")
        self.every = every
        """Forecast at every n-th interval."""
        self.split = split
        """The validation split; None: the first."""
        self.target = target
        """The loss in nats that the run is meant to reach."""
        self.register = tuple(sorted(register))
        """Shares of the budget at which a forecast is frozen."""
        self._tokens: list[int] = []
        self._losses: list[list[float]] = []
        self._sums: PositionSums | None = None
        self._interval: Interval | None = None
        self._learning_rate: Callable[[int], float] | None = None
        self._unlogged: dict[str, float] = {}
        self._tables: Tables | None = None

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
            self._end()
            return FORECASTS.measured.empty_table()
        due = self._interval.index > 0 and self._interval.index % self.every == 0
        marks = self._marks_reached()
        if not due and not marks:
            return FORECASTS.measured.empty_table()
        found = self._default()
        if isinstance(found, Outlook):
            for share in marks:
                self._freeze(share, found)
            found = self._without_bands(found) or found
        return self._forecast(found) if due else FORECASTS.measured.empty_table()

    def _default(self) -> Outlook | str:
        """The default's forecast, or why there is none."""
        tokens_K, tokens_M = self._parts()
        lr_R = self._learning_rates(np.concatenate([tokens_K, tokens_M]))
        try:
            return outlook(tokens_K, self._means(), tokens_M, lr_R, self._calibrated())
        except ValueError as e:
            return str(e)

    def _without_bands(self, found: Outlook) -> str:
        """Why the band says nothing about this run; empty where it does. What is registered is scored all the same."""
        epochs = self.run.position(self.run.schedule.steps[-1])[0]
        if epochs <= MOST_EPOCHS or self._calibrated().calibration.families(found.situation) == 1:
            return ""
        return f"the text is read {epochs:.3g} times, the archived runs read theirs once: no calibrated band"

    def _forecast(self, found: Outlook | str) -> pa.Table:
        tokens_K, tokens_M = self._parts()
        lr_K, lr_M = self._learning_rates(tokens_K), self._learning_rates(tokens_M)
        quick = baselines(costly=False)  # a training run doesn't wait seconds for a fit
        laws = project(np.array(self._losses), tokens_K, tokens_M, lr_K, lr_M, baselines=quick)
        self._publish(found)
        same = {"target_tokens": int(tokens_M[-1])}
        rows = [{**same, "law": p.law, **_at_the_end(p), "refused": p.refused or None} for p in (_as_law(found), *laws)]
        return pa.Table.from_pylist(rows, schema=FORECASTS.measured)

    def _parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens at the marks so far and at those to come."""
        marks = [step * self.run.schedule.tokens_per_step for step in self.run.schedule.steps]
        return np.array(self._tokens, float), np.array(marks[len(self._tokens) :], float)

    def _means(self) -> np.ndarray:
        """The losses so far, means over positions."""
        return np.array(self._losses).mean(1)

    def _learning_rates(self, tokens_K: np.ndarray) -> np.ndarray | None:
        """At some tokens; None for a module whose schedule isn't known. The first step's at initialisation."""
        if self._learning_rate is None:
            return None
        return np.array([self._learning_rate(max(int(t), self.run.schedule.tokens_per_step)) for t in tokens_K])

    def _calibrated(self) -> Tables:
        """The numbers shipped, with the bands of this folder's own finished runs where there are enough."""
        if self._tables is None:
            self._tables = tables_of(self.run.store.folder)
        return self._tables

    def _publish(self, found: Outlook | str) -> None:
        self.run.latest.forecast = None
        if isinstance(found, str):
            return
        low_M, high_M = found.band()
        reaches, cooldown = (None, None) if self.target is None else self._decision(self.target)
        final = FinalLoss(float(found.loss_M[-1]), float(low_M[-1]), float(high_M[-1]), reaches, cooldown)
        self._unlogged = {f"forecast/{key}": value for key, value in final._asdict().items() if value is not None}
        self.run.latest.forecast = final

    def _decision(self, target: float) -> tuple[float, float | None]:
        """Probability that the target is reached, and where a cooldown started now would end."""
        tokens_K, tokens_M = self._parts()
        lr_R = self._learning_rates(np.concatenate([tokens_K, tokens_M]))
        made = decide(tokens_K, self._means(), tokens_M, lr_R, target, tables=self._calibrated())
        return made.reaches, made.cooldown

    # ---- registered forecasts

    def _marks_reached(self) -> list[float]:
        """Shares of the budget that have been seen and have no frozen forecast yet."""
        seen = self._tokens[-1] / self._parts()[1][-1]
        return [share for share in self.register if share <= seen and not self._place(share).exists()]

    def _place(self, share: float) -> Any:
        return self.run.store.folder / "registered" / f"at_{100 * share:g}_percent.json"

    def _freeze(self, share: float, found: Outlook) -> None:
        about = {"share": share, "experiment": self.run.store.experiment, "run": self.run.store.run}
        split = self.split or next(iter(self.run.engine.splits))
        evidence = {"split": split, "losses": self._means().tolist()}  # a report holds them against the stored table
        freeze(self._place(share), {**about, **evidence, **frozen(found, self._tokens, self._means())})

    def _end(self) -> None:
        """Score what was registered: the truth is known."""
        self.run.latest.forecast = None
        scored = score_run(self.run.store.folder, self._tokens, self._means())
        if not scored.empty:
            self._unlogged = {
                f"forecast/error_at_{100 * share:g}_percent": float(error)
                for share, error in zip(scored["share"], scored["error"], strict=True)
            }

    # ---- hooks

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Learn the schedule."""
        self._learning_rate = getattr(pl_module, "learning_rate", None)

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


def _as_law(found: Outlook | str) -> Projection:
    """The default as a row among the laws."""
    if isinstance(found, str):
        nothing_M = np.full(1, np.nan)
        return Projection("default", nothing_M, nothing_M, nothing_M, found)
    return Projection("default", found.loss_M, *found.band())


def _at_the_end(projection: Projection) -> dict[str, float | None]:
    """The forecast of the final loss with its band; nulls where the law was refused."""
    ends = zip(("forecast", "low", "high"), (projection.loss_M, projection.low_M, projection.high_M), strict=True)
    return {name: float(value_M[-1]) if np.isfinite(value_M[-1]) else None for name, value_M in ends}
