"""State of the telemetry callbacks survives a checkpoint."""

from types import SimpleNamespace
from typing import Any

import pytest

from trajlab.callbacks.interval_telemetry import IntervalTelemetry
from trajlab.callbacks.position_loss import PositionLoss
from trajlab.callbacks.run_checkpoint import RunCheckpoint
from trajlab.callbacks.step_telemetry import StepTelemetry
from trajlab.callbacks.weight_snapshots import WeightSnapshots
from trajlab.checkpoints.weights import distinct_tensors
from trajlab.evaluation.context import Latest, RunCallback, RunMember, training_module
from trajlab.models.llama import LlamaModel
from trajlab.protocols import LossConsumer


class Recorder(SimpleNamespace):
    """A run context that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(schedule=SimpleNamespace(tokens_per_step=64), written=[], latest=Latest())
        self.store = SimpleNamespace(write=lambda table, interval, rows: self.written.append(rows.to_pylist()))

    def due(self, step: int) -> int | None:
        return step if step == 4 else None


def steps(callback: StepTelemetry | IntervalTelemetry, first: int, last: int) -> None:
    for step in range(first, last + 1):
        trainer: Any = SimpleNamespace(global_step=step, is_global_zero=True)
        module: Any = SimpleNamespace(
            model=None, train_loss=float(step), grad_norm=1.0, lr=0.1, learning_rate=lambda tokens: 0.1
        )
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
    run = Recorder()
    before, after = IntervalTelemetry().bind(run), IntervalTelemetry().bind(run)  # type: ignore[arg-type]
    steps(before, 1, 3)
    seconds = before.state_dict()["train"]["seconds"]
    after.load_state_dict(before.state_dict())
    assert run.latest.training == {}, "the interval isn't over"
    steps(after, 4, 4)
    assert run.latest.training["train_loss"] == 2.5
    assert run.latest.training["seconds_train"] > seconds > 0


def test_a_foreign_module_is_told_what_it_lacks() -> None:
    module: Any = SimpleNamespace(train_loss=1.0, lr=0.1)
    with pytest.raises(TypeError, match="lacks model, grad_norm, learning_rate"):
        training_module(module)


@pytest.mark.parametrize("callback", [IntervalTelemetry(), PositionLoss()])
def test_consumers_satisfy_the_protocol(callback: RunMember) -> None:
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
