"""A stored run's consumers are built again; what else its files name is not."""

import pytest
from omegaconf import OmegaConf

from tests.trajlab.checkpoints.users_model import Trace
from trajlab.errors import UserError
from trajlab.evaluation.stored_consumers import stored_consumers

TRACE = "tests.trajlab.checkpoints.users_model.Trace"


def names(stored, asked=None):
    return [type(c).__name__ for c in stored_consumers(stored, OmegaConf.create(asked or {}))]


def test_own_consumers_are_built_with_their_arguments_wherever_they_lay() -> None:
    stored = {
        "old": {"_target_": "callbacks.position_loss.PositionLoss", "splits": ["valid"]},
        "new": {"_target_": "trajlab.callbacks.token_loss.TokenLoss", "probes": 7},
        "progress": {"_target_": "callbacks.progress.Progress", "every_seconds": 30},
        "off": None,
        "gone": {"_target_": "callbacks.gone.Gone"},
    }
    position, token = stored_consumers(stored, {})
    assert (position.splits, token.probes) == (["valid"], 7)


@pytest.mark.parametrize("target", [TRACE, "pandas.read_pickle", "trajlab.callbacks.token_loss.hashlib.md5"])
def test_a_foreign_class_is_left_out(target, capfd) -> None:
    assert names({"x": {"_target_": target}}) == []
    assert Trace.built == 0
    if not target.startswith("trajlab."):
        assert target in capfd.readouterr().err


def test_nested_classes_are_refused() -> None:
    with pytest.raises(UserError, match=r"callbacks\.x\.splits is no plain value"):
        names({"x": {"_target_": "callbacks.position_loss.PositionLoss", "splits": {"_target_": TRACE}}})
    assert Trace.built == 0


def test_a_foreign_consumer_is_built_as_the_command_configures_it() -> None:
    target = "trajlab.callbacks.position_blocks.PositionBlocks"
    foreign = {"_target_": "os.path.join"}
    assert names({"x": foreign}, {"x": {"_target_": target}}) == []
    # stands for an installed plug-in: any path outside trajlab that the command names
    plug_in = {"_target_": "tests.trajlab.evaluation.test_stored_consumers.PlugIn", "size": 1}
    (built,) = stored_consumers({"x": plug_in}, OmegaConf.create({"y": {**plug_in, "size": 2}}))
    assert built.size == 2


class PlugIn:
    table = "largest"

    def __init__(self, size: int) -> None:
        self.size = size

    def begin(self, *_):
        pass

    def update(self, *_):
        pass

    def rows(self):
        pass
