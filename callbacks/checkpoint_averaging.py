"""Averages of the weights along training, evaluated beside the raw ones."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn

from trajlab.averaging import Averager, RunningAverages
from trajlab.errors import UserError
from trajlab.evaluation.context import RunCallback

SHARDED = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)


class CheckpointAveraging(RunCallback):
    """Any number of averages at once (LAWA, EMA, SWA, merging; docs/methods.md §4), for any LightningModule.

    In a trajlab run each average is a variant that the evaluation engine scores at every interval. Beside any other
    Trainer it works without a run: read the averages with `weights`, or train and validate inside `applied`::

        averaging = CheckpointAveraging([lawa(5, every_steps=200), ema(0.999)])
        trainer = L.Trainer(callbacks=[averaging])
        trainer.fit(module)
        with averaging.applied("lawa5", module):
            trainer.validate(module)

    Parameters are averaged, buffers are not: a variant is evaluated with the model's present ones. Training isn't
    touched. A LAWA costs k copies of the parameters, an EMA one, SWA two (its sum is float64), on ``device``. The state
    goes into the trainer's checkpoints, and a resumed run continues bit for bit.

    Raises UserError under a strategy that shards parameters over processes (FSDP, DeepSpeed, model parallel), where a
    cadence counts tokens that nobody knows, and when resumed with other averagers than it was stopped with.
    """

    order = -1  # an average is up to date before anything looks at it

    def __init__(
        self,
        averagers: Iterable[Averager] | Mapping[str, Averager],
        tokens_per_step: int | None = None,
        device: str | None = "cpu",
        module: str | None = None,
    ) -> None:
        members = list(averagers.values() if isinstance(averagers, Mapping) else averagers)
        names = [a.name for a in members]
        if repeated := {n for n in names if names.count(n) > 1} | {n for n in names if n == "raw"}:
            raise ValueError(f"averagers need different names, none of them 'raw': give {sorted(repeated)} a name=…")
        self.averagers: dict[str, Averager] = {a.name: a for a in members}
        """By name. A mapping's keys are for overriding on a command line; the names are the averagers' own."""
        self.tokens_per_step = tokens_per_step
        """For cadences in tokens outside a trajlab run, which knows it by itself."""
        self.device = device
        """Where the copies are kept; None: where the parameters are."""
        self.module = module
        """Attribute of the LightningModule that is averaged; None: ``model`` in a trajlab run, else the module itself."""
        self._averages = {a.name: RunningAverages(a.rule, device) for a in members}
        self._last_step = 0

    # ---- when

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse what can't work before anything is computed."""
        if isinstance(trainer.strategy, SHARDED):
            raise UserError(
                f"CheckpointAveraging doesn't work under {type(trainer.strategy).__name__}, which spreads parameters over "
                "processes; take trainer.strategy=auto or ddp, or average snapshots afterwards with task=average"
            )
        needing = [a.name for a in self.averagers.values() if a.unit == "tokens"]
        if needing and self._tokens_per_step() is None:
            raise UserError(
                f"averagers {needing} count tokens, but tokens_per_step is unknown outside a trajlab run; "
                "give CheckpointAveraging(…, tokens_per_step=…) or use every_steps"
            )
        if (run := getattr(self, "run", None)) is not None and trainer.is_global_zero:
            run.store.update_manifest(averagers=[a.facts(self._tokens_per_step()) for a in self.averagers.values()])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The initial weights, for averagers that start at 0; where a resumed run stands."""
        self._last_step = trainer.global_step
        if trainer.global_step == 0:
            self._take(pl_module, [a for a in self.averagers.values() if a.first == 0])

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Take the weights where a cadence says so; a batch without an optimizer step counts for nothing."""
        before, self._last_step = self._last_step, trainer.global_step
        size = {"steps": 1, "tokens": self._tokens_per_step() or 0}
        due = [a for a in self.averagers.values() if a.due(before * size[a.unit], self._last_step * size[a.unit])]
        self._take(pl_module, due)

    def _take(self, pl_module: L.LightningModule, due: list[Averager]) -> None:
        if due:
            parameters = {name: p.detach() for name, p in self._averaged(pl_module).named_parameters()}
            for averager in due:
                self._averages[averager.name].push(parameters)

    def _tokens_per_step(self) -> int | None:
        run = getattr(self, "run", None)
        return run.schedule.tokens_per_step if run is not None else self.tokens_per_step

    def _averaged(self, pl_module: L.LightningModule) -> nn.Module:
        attribute = self.module or ("model" if getattr(self, "run", None) is not None else None)
        return getattr(pl_module, attribute) if attribute else pl_module

    # ---- what: WeightVariants

    def variants(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """Every average that has begun."""
        return ((name, average) for name, average in self._averages.items() if average)

    def weights(self, name: str) -> Mapping[str, Tensor]:
        """One average: float32 parameters by name, computed one by one as they are read; empty before it begins."""
        return self._averages[name]

    @contextmanager
    def applied(self, name: str, pl_module: L.LightningModule) -> Iterator[None]:
        """The average in the module's parameters inside, the raw weights back after, bit for bit.

        Raises ValueError before the average has begun.
        """
        average, parameters = self._averages[name], dict(self._averaged(pl_module).named_parameters())
        if not average:
            raise ValueError(f"{name} has taken no weights yet")
        raw = {n: p.detach().clone() for n, p in parameters.items()}
        try:
            _copy(average, parameters)
            yield
        finally:
            _copy(raw, parameters)

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """Every running average."""
        return {name: average.state() for name, average in self._averages.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with them."""
        if state_dict.keys() != self._averages.keys():
            raise UserError(
                f"the checkpoint holds the averages {sorted(state_dict)}, configured are {sorted(self._averages)}; "
                "resume with the same averagers"
            )
        for name, state in state_dict.items():
            self._averages[name].load(state)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
