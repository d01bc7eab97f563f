"""Shared ground for the tests: a cache of their own, micro runs, the folder of real data where there is one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MICRO = [
    "experiment=tinystories_budget_small",
    "data.source=embedded",
    "tokenizer.vocab_size=300",
    "tokenizer.train_bytes=20000",
    "model.width=16",
    "model.layers=1",
    "model.heads=2",
    "model.hidden=32",
    "data.context=16",
    "data.windows_per_step=4",
    "data.unique_tokens=640",
    "data.validation.valid.windows=8",
    "intervals.budget_tokens=1920",
    "intervals.every_tokens=320",
    "schedule.warmup_tokens=128",
    "callbacks.progress.every_seconds=1000",
]
"""A run of 30 steps, 7 intervals, a second or two: everything of a real one but its size."""


SERIES_MICRO = [
    "intervals.budget_tokens=2048",
    "intervals.geometric.first_tokens=512", "intervals.geometric.count=2", "data.context=64",
    "data.windows_per_step=4", "schedule.warmup_tokens=256", "tokenizer.vocab_size=300", "tokenizer.train_bytes=20000",
    "data.validation.valid.windows=2", "evaluation.documents=2", "evaluation.context=64", "evaluation.stride=64",
    "measures.sequences.documents=2", "measures.sequences.length=64", "mixture_prompts=2", "task_questions=4",
    "lambdas=[[1,-1]]", "published.series.tokens_per_step=256", "~made.opt-tiny-m", "~made.pythia-tiny-m",
    "~mixtures.opt", "mixtures.pythia=[opt-tiny-s,pythia-tiny-s]",
]  # fmt: skip
"""The small checkpoint series in miniature: two models, three checkpoints, everything measured."""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["TRAJLAB_CACHE"] = str(tmp_path_factory.getbasetemp().parent / "trajlab-cache")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"  # child processes: two of them share two cores


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real text and published curves, which are not part of the repository."""
    folder = Path(os.environ.get("TRAJLAB_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set TRAJLAB_SHARED to a folder that has data/)")
    return folder


def trajlab(*arguments: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """``python -m trajlab`` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "trajlab", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd or ROOT, env=environment, check=False)
    if check and done.returncode:
        raise AssertionError(f"exit code {done.returncode}: {' '.join(arguments)}\n{done.stdout}\n{done.stderr}")
    return done


def run_here(*overrides: str) -> None:
    """One run in this process, as the command line would do it."""
    from hydra import compose, initialize_config_module

    from trajlab.tasks import run

    with initialize_config_module("trajlab.conf", version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    run(config)


@pytest.fixture
def micro(tmp_path: Path) -> Callable[..., Path]:
    """Do a micro run with more overrides; its folder."""

    def do(*overrides: str, runs: str = "runs", seed: int = 0) -> Path:
        run_here(*MICRO, f"runs_dir={tmp_path / runs}", f"seed={seed}", *overrides)
        return tmp_path / runs / "tinystories_budget_small" / f"seed={seed}"

    return do
