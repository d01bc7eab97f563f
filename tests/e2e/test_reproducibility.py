"""The same seed gives the same bits: alone, in a sweep, evaluated more or less often, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import MICRO, ROOT, trajlab
from trajlab.analysis.load import load_runs

TIMING = ["seconds_train", "seconds_eval", "tokens_per_second", "seconds", "run"]


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(max((folder / "snapshots").iterdir()))


def assert_same_weights(a: Path, b: Path) -> None:
    first, second = final_weights(a), final_weights(b)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)


def assert_same_tables(a: Path, b: Path) -> None:
    first, second = load_runs(a), load_runs(b)
    assert first.tables.keys() == second.tables.keys()
    for name in first.tables:
        left, right = (r.table(name).drop(columns=TIMING, errors="ignore") for r in (first, second))
        pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_a_seed_repeats_to_the_bit(micro: Callable[..., Path]) -> None:
    a, b = micro(runs="a"), micro(runs="b")
    assert_same_weights(a, b)
    assert_same_tables(a, b)


def test_a_seed_alone_equals_the_seed_after_another(micro: Callable[..., Path], tmp_path: Path) -> None:
    alone = micro(seed=1, runs="alone")
    trajlab(*MICRO, f"runs_dir={tmp_path / 'sweep'}", "seed=0..1", "-m")
    swept = tmp_path / "sweep" / "tinystories_budget_small"
    assert_same_weights(alone, swept / "seed=1")
    assert_same_tables(alone, swept / "seed=1")


def test_seeds_differ_from_the_first_weights_on(micro: Callable[..., Path]) -> None:
    a, b = micro(seed=0), micro(seed=1)
    assert load_runs(a).intervals["loss"].iloc[0] != load_runs(b).intervals["loss"].iloc[0]


@pytest.mark.parametrize("change", ["intervals.every_tokens=640", "intervals.every_tokens=64"])
def test_the_evaluation_cadence_leaves_the_weights_alone(micro: Callable[..., Path], change: str) -> None:
    assert_same_weights(micro(runs="a"), micro(change, runs="b"))


def test_dropout_is_resumed_to_the_bit(micro: Callable[..., Path], tmp_path: Path) -> None:
    whole = micro("model.dropout=0.1", runs="whole")
    cut = kill_when(tmp_path / "cut", lambda f: parts(f) >= 3, "model.dropout=0.1")
    micro("model.dropout=0.1", runs="cut")
    assert_same_weights(whole, cut)


def parts(folder: Path) -> int:
    return len(list(folder.glob("metrics/intervals/part-*.parquet")))


def kill_when(runs: Path, ready: Callable[[Path], bool], *overrides: str) -> Path:
    """Start a micro run in a process, SIGKILL it as soon as its folder looks right; the folder."""
    folder = runs / "tinystories_budget_small" / "seed=0"
    command = [sys.executable, "-m", "trajlab", *MICRO, f"runs_dir={runs}", *overrides]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not ready(folder):
        pass
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    return folder


@pytest.mark.parametrize("intervals", [1, 3])
def test_a_killed_run_resumes_to_the_same_bits(micro: Callable[..., Path], tmp_path: Path, intervals: int) -> None:
    whole = micro(runs="whole")
    cut = kill_when(tmp_path / "cut", lambda f: parts(f) >= intervals)
    assert json.loads((cut / "manifest.json").read_text())["status"] == "running"
    micro(runs="cut")
    assert_same_weights(whole, cut)
    assert_same_tables(whole, cut)


def test_a_checkpoint_inside_an_interval_resumes_to_the_same_bits(micro: Callable[..., Path], tmp_path: Path) -> None:
    whole = micro("callbacks.checkpoint.every_steps=2", runs="whole")
    cut = kill_when(
        tmp_path / "cut", lambda f: parts(f) >= 2 and checkpoint_step(f) % 5 != 0, "callbacks.checkpoint.every_steps=2"
    )
    micro("callbacks.checkpoint.every_steps=2", runs="cut")
    assert_same_weights(whole, cut)
    assert_same_tables(whole, cut)


def checkpoint_step(folder: Path) -> int:
    path = folder / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["global_step"] if path.exists() else 0


def test_a_finished_run_is_skipped(micro: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    folder = micro()
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.parquet")}
    micro()
    assert "finished already, skipped" in capfd.readouterr().err
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*.parquet")}
