"""What is in config group `callbacks` is found by what it can do."""

from pathlib import Path

import lightning as L
import pytest
from omegaconf import OmegaConf

from trajlab.callbacks.interval_telemetry import IntervalTelemetry
from trajlab.callbacks.position_loss import PositionLoss
from trajlab.errors import UserError
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import Marks
from trajlab.evaluation.members import build_members
from trajlab.store.run_store import RunStore


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return RunContext(RunStore(tmp_path, "e", "r", 0), Marks([0], 1), EvaluationEngine({}))


def test_a_plain_consumer_is_no_callback_and_takes_part_all_the_same(context: RunContext) -> None:
    targets = {
        "telemetry": "trajlab.callbacks.interval_telemetry.IntervalTelemetry",
        "positions": "trajlab.callbacks.position_loss.PositionLoss",
        "averages": "trajlab.callbacks.checkpoint_averaging.CheckpointAveraging",
    }
    config = OmegaConf.create({name: {"_target_": target} for name, target in targets.items()})
    config.averages.averagers = []
    config.absent = None
    members = build_members(config, context)
    assert list(members.by_name) == list(targets)
    assert not isinstance(members.by_name["positions"], L.Callback)
    assert [type(c) for c in members.consumers] == [IntervalTelemetry, PositionLoss]
    assert members.hooks == [members.by_name["telemetry"], members.by_name["averages"]]
    assert members.averagers == [members.by_name["averages"]]
    assert all(m.run is context for m in members.by_name.values())


def test_what_nothing_would_call_is_refused(context: RunContext) -> None:
    config = OmegaConf.create({"odd": {"_target_": "datetime.timedelta", "days": 1}})
    with pytest.raises(UserError, match=r"callbacks\.odd \(datetime\.timedelta\) is neither"):
        build_members(config, context)
