"""State of the telemetry callbacks survives a checkpoint."""

from types import SimpleNamespace
from typing import Any

import pytest

from trajlab.callbacks.interval_telemetry import IntervalTelemetry
from trajlab.callbacks.position_loss import PositionLoss
from trajlab.callbacks.run_checkpoint import RunCheckpoint
from trajlab.callbacks.step_telemetry import StepTelemetry
from trajlab.callbacks.weight_snapshots import WeightSnapshots, distinct_tensors
from trajlab.evaluation.context import RunCallback
from trajlab.models.llama import LlamaModel
from trajlab.protocols import LossConsumer


class Recorder(SimpleNamespace):
    """A run context that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(schedule=SimpleNamespace(tokens_per_step=64), written=[])
        self.store = SimpleNamespace(write=lambda table, interval, rows: self.written.append(rows.to_pylist()))

    def due(self, step: int) -> int | None:
        return step if step == 4 else None


def steps(callback: StepTelemetry, first: int, last: int) -> None:
    for step in range(first, last + 1):
        trainer: Any = SimpleNamespace(global_step=step, is_global_zero=True)
        module: Any = SimpleNamespace(train_loss=float(step), grad_norm=1.0, lr=0.1)
        callback.on_train_batch_start()
        callback.on_train_batch_end(trainer, module)


def test_step_rows_survive_a_checkpoint_inside_an_interval() -> None:
    run = Recorder()
    before, after = StepTelemetry().bind(run), StepTelemetry().bind(run)  # type: ignore[arg-type]
    steps(before, 1, 2)
    after.load_state_dict(before.state_dict())
    steps(after, 3, 4)
    assert [r["train_loss"] for r in run.written[0]] == [1.0, 2.0, 3.0, 4.0]
    assert [r["tokens"] for r in run.written[0]] == [64, 128, 192, 256]


def test_the_training_sums_survive_a_checkpoint_inside_an_interval() -> None:
    before, after = IntervalTelemetry(), IntervalTelemetry()
    before._train = {"loss_sum": 7.5, "steps": 3, "seconds": 1.0}
    after.load_state_dict(before.state_dict())
    assert after._train["loss_sum"] == 7.5
    assert after._train["steps"] == 3
    assert after._train["seconds"] >= 1.0


@pytest.mark.parametrize("callback", [IntervalTelemetry(), PositionLoss()])
def test_consumers_satisfy_the_protocol(callback: RunCallback) -> None:
    assert isinstance(callback, LossConsumer)


@pytest.mark.parametrize("callback", [StepTelemetry(), WeightSnapshots(), RunCheckpoint()])
def test_the_others_do_not(callback: RunCallback) -> None:
    assert not isinstance(callback, LossConsumer)


def test_a_tied_tensor_is_saved_once() -> None:
    import torch

    model = LlamaModel(vocab_size=10, width=8, layers=1, heads=2, hidden=8, context=4)
    model.second_name = model.embed_tokens.weight
    names = distinct_tensors(model)
    assert sum(t is model.embed_tokens.weight for t in names.values()) == 1
    assert all(isinstance(t, torch.Tensor) for t in names.values())


def test_a_snapshot_cadence_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="every"):
        WeightSnapshots(0)
