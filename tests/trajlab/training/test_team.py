"""Two processes train a run as one would: the same losses and weights, each row once, whatever happens to either."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.processes import train_together
from trajlab.analysis.load import load_runs
from trajlab.errors import ConfigProblems, UserError
from trajlab.training.team import Team

HERE = "tests.trajlab.training.misfortune"
CALLBACKS = "trajlab.callbacks"
TIMES = ["seconds", "seconds_train", "seconds_eval", "tokens_per_second"]
SHORT = ["intervals.budget_tokens=480", "intervals.every_tokens=240"]
EVERYTHING = [
    *SHORT, "data.windows_per_step=5", "+data.validation.few.windows=1",
    f"+callbacks.tokens={{_target_: {CALLBACKS}.token_loss.TokenLoss, probes: 20}}",
    f"+callbacks.blocks={{_target_: {CALLBACKS}.position_blocks.PositionBlocks, blocks: 3}}",
    f"+callbacks.averages._target_={CALLBACKS}.checkpoint_averaging.CheckpointAveraging",
    "+callbacks.averages.averagers.ema={_target_: trajlab.averaging.ema, decay: 0.8}",
    f"+callbacks.noise={{_target_: {CALLBACKS}.disturbance.Disturbance, start_step: 2, steps: 2, random_tokens: 0.5}}",
]  # fmt: skip
"""Five windows for two processes, one window of a split, every consumer that reduces, an average, random tokens."""
Micro = Callable[..., Path]


@pytest.fixture
def together(tmp_path: Path) -> Callable[..., Path]:
    """Do a micro run with two processes, expecting their exit codes; its folder."""

    def do(*overrides: str, codes: tuple[int, int] = (0, 0)) -> Path:
        log = tmp_path / "said"
        ended = train_together([f"runs_dir={tmp_path / 'two'}", *overrides], log)
        assert tuple(ended) == codes, [Path(f"{log}.{rank}").read_text() for rank in (0, 1)]
        assert Path(f"{log}.1").read_text() == ""
        return tmp_path / "two" / "tinystories_budget_small" / "seed=0"

    return do


def _assert_alike(one: Path, two: Path) -> None:
    a, b = load_runs(one), load_runs(two)
    assert a.tables.keys() == b.tables.keys()
    for name in a.tables:
        left, right = (r.table(name).drop(columns=[*TIMES, "run"], errors="ignore") for r in (a, b))
        pd.testing.assert_frame_equal(left, right, rtol=1e-6, atol=1e-6)
    for snapshot in (one / "snapshots").iterdir():
        wanted, got = load_file(snapshot), load_file(two / "snapshots" / snapshot.name)
        assert wanted.keys() == got.keys()
        for tensor, values in wanted.items():
            np.testing.assert_allclose(values, got[tensor], rtol=0, atol=1e-6)


@pytest.mark.parametrize("micro_batch", ["null", "1"])
def test_two_processes_equal_one(micro_batch: str, micro: Micro, together: Micro) -> None:
    asked = [*EVERYTHING, f"trainer.micro_batch_windows={micro_batch}"]
    one, two = micro(*asked), together(*asked)
    _assert_alike(one, two)
    assert json.loads((two / "manifest.json").read_text())["status"] == "finished"


def _struck(step: int, name: str, rank: int) -> list[str]:
    """A signal to one of the processes, in place of the progress line: what stands there is no part of a run's identity."""
    node = [f"{key}={value}" for key, value in {"step": step, "name": name, "rank": rank}.items()]
    return [
        "~callbacks.progress.every_seconds",
        f"callbacks.progress._target_={HERE}.SignalAt",
        *(f"+callbacks.progress.{key}" for key in node),
    ]


@pytest.mark.parametrize("rank", [0, 1])
def test_after_the_death_of_either_the_same_command_goes_on(
    rank: int, micro: Micro, together: Micro, tmp_path: Path
) -> None:
    line = [f"runs_dir={tmp_path / 'two'}", *SHORT, *_struck(6, "SIGKILL", rank)]
    codes = train_together(line, tmp_path / "dying")
    assert codes[rank] == -signal.SIGKILL
    assert codes[1 - rank] not in (0, None)
    assert "another process of this run is gone" in Path(f"{tmp_path / 'dying'}.{1 - rank}").read_text()
    _assert_alike(micro(*SHORT), together(*SHORT))


def test_a_signal_to_the_second_process_stops_both_and_one_may_go_on_alone(
    micro: Micro, together: Micro, tmp_path: Path
) -> None:
    folder = together(*SHORT, *_struck(6, "SIGTERM", 1), codes=(143, 0))
    assert "interrupted; saved at 448 tokens" in (tmp_path / "said.0").read_text()  # seven steps of 64
    one = micro(*SHORT)
    assert micro(*SHORT, runs="two") == folder
    _assert_alike(one, folder)


def test_a_loss_that_is_not_finite_ends_both(together: Micro) -> None:
    folder = together(*SHORT, f"+callbacks.nan={{_target_: {HERE}.NonFiniteGradients, steps: [3]}}")
    assert json.loads((folder / "manifest.json").read_text())["status"] == "diverged"
    assert len(load_runs(folder, diverged=True).steps) == 4


def test_a_team_of_another_size_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert Team.of(1) == Team.of(2) == Team(1, 2, 2, torchrun=True)
    with pytest.raises(UserError, match="trainer.devices=4, but torchrun started 2"):
        Team.of(4)


def test_each_process_needs_a_window(micro: Micro) -> None:
    with pytest.raises(ConfigProblems, match="data.windows_per_step=4 must be at least trainer.devices=5"):
        micro("trainer.devices=5")
