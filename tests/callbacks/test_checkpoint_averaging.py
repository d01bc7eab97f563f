"""Averaging beside training: nothing changes in training, nothing is lost by a kill, any LightningModule will do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader

from tests.conftest import MICRO, ROOT, run_here
from trajlab.analysis.load import load_runs
from trajlab.averaging import ema, lawa, swa
from trajlab.callbacks.checkpoint_averaging import CheckpointAveraging
from trajlab.errors import UserError
from trajlab.protocols import WeightVariants

AVERAGERS = (
    "+callbacks.checkpoint_averaging={_target_:trajlab.callbacks.checkpoint_averaging.CheckpointAveraging,averagers:{"
    "a:{_target_:trajlab.averaging.lawa,k:3,every_tokens:320},b:{_target_:trajlab.averaging.lawa,k:1,every_steps:1},"
    "c:{_target_:trajlab.averaging.ema,decay:0.8},d:{_target_:trajlab.averaging.swa,start:640,every_tokens:64}}}"
)


def finished(folder: Path, *more: str) -> Path:
    run_here(*MICRO, f"runs_dir={folder}/runs", *more)
    return next(folder.glob("runs/*/seed=0"))


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(max((folder / "snapshots").iterdir()))


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("averaged"), AVERAGERS)


@pytest.fixture(scope="module")
def intervals(averaged: Path) -> pd.DataFrame:
    return load_runs(averaged).intervals.set_index(["variant", "interval"])["loss"]


def test_a_run_ends_with_the_same_bits_with_and_without_averages(averaged, tmp_path):
    ours, theirs = final_weights(averaged), final_weights(finished(tmp_path))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_every_variant_is_evaluated_beside_raw_from_its_first_snapshot_on(intervals):
    found = {v: list(intervals[v].index) for v in intervals.index.get_level_values(0).unique()}
    whole, later = list(range(7)), list(range(1, 7))
    assert found == {"raw": whole, "lawa3": later, "lawa1": later, "ema0.8": later, "swa": later[1:]}


def test_an_average_of_one_is_raw_at_every_interval(intervals):
    pd.testing.assert_series_equal(intervals["lawa1"], intervals["raw"].loc[1:], check_exact=True)


def test_the_average_holds_the_interval_that_is_evaluated(averaged, intervals):
    """The averager must have taken a mark's weights before telemetry looks: at the first mark LAWA is raw, then not."""
    assert intervals["lawa3", 1] == intervals["raw", 1]
    assert intervals["lawa3", 2] != intervals["raw", 2]


KILLER = """
import os, signal
import lightning as L

class KillAt(L.Callback):
    order = 200
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == int(os.environ.get("KILL_AT", 0)):
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_kill_in_mid_window_changes_no_average(averaged, tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    every_step = ["+callbacks.checkpoint.every_steps=1", "+callbacks.kill._target_=killer.KillAt"]
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-m", "trajlab", *MICRO, f"runs_dir={tmp_path}/runs", AVERAGERS, *every_step]
    ends = []
    for kill_at in ("17", "0"):  # step 17 lies between two snapshots, and the window is full since step 15
        environment = {**os.environ, "PYTHONPATH": paths, "KILL_AT": kill_at, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        ends.append((done.returncode, done.stderr[-2000:]))
    assert [code for code, _ in ends] == [-signal.SIGKILL, 0], ends
    assert "resumes at 1,088 tokens" in ends[1][1]
    resumed = next(tmp_path.glob("runs/*/seed=0"))
    columns = ["variant", "interval", "tokens", "nll_sum", "nll_sq_sum", "loss"]
    pd.testing.assert_frame_equal(load_runs(resumed).intervals[columns], load_runs(averaged).intervals[columns])


class Plain(L.LightningModule):
    """Somebody's module: automatic optimisation, a BatchNorm, a tied and a frozen weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
        self.body[2].weight = self.body[0].weight
        self.seen: list[dict[str, torch.Tensor]] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.body(batch).square().mean()

    def on_train_batch_end(self, *_: object) -> None:
        self.seen.append({n: p.detach().clone() for n, p in self.named_parameters()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.3)


def fitted(averaging: CheckpointAveraging | None, **options: object) -> Plain:
    module = Plain()
    data = torch.randn(12, 5, 4, generator=torch.Generator().manual_seed(1))
    trainer = L.Trainer(
        max_steps=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[averaging] if averaging else [], **options,
    )  # fmt: skip
    trainer.fit(module, DataLoader(data, batch_size=None))
    return module


def test_a_plain_lightning_module_is_averaged_and_not_changed():
    averaging = CheckpointAveraging([lawa(2, every_steps=2), swa(3, every_steps=1)])
    assert isinstance(averaging, WeightVariants)
    module, alone = fitted(averaging), fitted(None)
    for name, expected in alone.state_dict().items():
        assert torch.equal(module.state_dict()[name], expected), name
    steps = module.seen
    for name, mean in averaging.weights("lawa2").items():
        assert torch.equal(mean, ((steps[3][name].double() + steps[5][name].double()) / 2).float())
        expected = sum(s[name].double() for s in steps[2:]) / 4
        assert torch.equal(averaging.weights("swa")[name], expected.float())
    assert sum("body.2.weight" in name for name in averaging.weights("swa")) == 0  # a tied weight is averaged once


def test_a_batch_without_an_optimizer_step_counts_for_nothing():
    averaging = CheckpointAveraging([swa(1, every_steps=1)])
    module = fitted(averaging, accumulate_grad_batches=2)
    expected = sum(s["body.0.bias"].double() for s in module.seen[1::2]) / 6
    assert torch.equal(averaging.weights("swa")["body.0.bias"], expected.float())


def test_applied_shows_the_average_and_gives_the_raw_weights_back():
    averaging = CheckpointAveraging([ema(0.5)])
    module = fitted(averaging)
    raw = {n: p.detach().clone() for n, p in module.named_parameters()}
    with averaging.applied("ema0.5", module):
        for name, parameter in module.named_parameters():
            assert torch.equal(parameter, averaging.weights("ema0.5")[name])
    assert all(torch.equal(p, raw[n]) for n, p in module.named_parameters())


def test_a_window_costs_k_copies_of_the_parameters_and_no_more():
    averaging = CheckpointAveraging([lawa(3, every_steps=1)])
    module = fitted(averaging)
    kept = averaging.state_dict()["lawa3"]
    held = sum(t.untyped_storage().nbytes() for state in kept.values() for t in state["ring"])
    assert held == 3 * sum(p.numel() * 4 for p in module.parameters())


def test_the_state_survives_a_checkpoint_round_trip(tmp_path):
    averaging = CheckpointAveraging([lawa(3, every_steps=1), ema(0.9), swa(2, every_steps=1)])
    fitted(averaging)
    torch.save(averaging.state_dict(), tmp_path / "state")
    fresh = CheckpointAveraging({"x": lawa(3, every_steps=1), "y": ema(0.9), "z": swa(2, every_steps=1)})
    fresh.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    for name in averaging.averagers:
        ours, theirs = averaging.weights(name), fresh.weights(name)
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_other_averagers_than_the_checkpoints_are_refused():
    averaging = CheckpointAveraging([ema(0.9)])
    fitted(averaging)
    with pytest.raises(UserError, match=r"ema0.9.*lawa5"):
        CheckpointAveraging([lawa(5, every_steps=1)]).load_state_dict(averaging.state_dict())


@pytest.mark.parametrize("names", [["a", "a"], ["raw"]])
def test_names_that_would_mix_rows_are_refused(names):
    with pytest.raises(ValueError, match="different names"):
        CheckpointAveraging([ema(0.9, name=name) for name in names])


def test_tokens_that_nobody_counts_are_refused():
    with pytest.raises(UserError, match="tokens_per_step"):
        fitted(CheckpointAveraging([lawa(5, every_tokens=100)]))
    fitted(CheckpointAveraging([lawa(5, every_tokens=100)], tokens_per_step=20))


def test_a_sharded_strategy_is_refused():
    class Trainer:
        strategy = FSDPStrategy()

    with pytest.raises(UserError, match="FSDPStrategy"):
        CheckpointAveraging([ema()]).setup(Trainer(), Plain(), "fit")
