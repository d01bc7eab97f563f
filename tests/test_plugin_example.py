"""The package in tests/plugin_example, installed outside the tree, adds one of each thing and touches no file of trajlab."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from tests.conftest import ROOT

EXAMPLE = ROOT / "tests" / "plugin_example"
FILES = sorted((EXAMPLE / "trajlab_example").glob("*.py"))
LINES = 30

RUN = [
    "hydra.searchpath=[pkg://trajlab_example.conf]",
    "experiment=tinystories_budget_small",
    "model=bag_of_words",
    "data.source={_target_: trajlab_example.corpus.Counting, documents: 400}",
    "+callbacks.surprise._target_=trajlab_example.consumer.Surprise",
    "+callbacks.half_way_back._target_=trajlab_example.variant.HalfWayBack",
    "tokenizer.vocab_size=270", "tokenizer.train_bytes=20000", "data.context=16", "data.windows_per_step=4",
    "data.unique_tokens=640", "data.validation.valid.windows=8", "intervals.budget_tokens=640",
    "intervals.every_tokens=320", "schedule.warmup_tokens=128",
]  # fmt: skip


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed example and, below, the runs that are made with it."""
    folder = tmp_path_factory.mktemp("outside")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
    ]
    copy = folder / "source"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(copy)], check=True)  # a build leaves files beside the sources
    subprocess.run([*pip, "--target", str(folder / "site"), str(copy)], check=True, capture_output=True, text=True)
    return folder


def python(outside: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{outside / 'site'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=outside, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def run(outside: Path) -> Path:
    python(outside, "-m", "trajlab", *RUN, "runs_dir=runs")
    return outside / "runs" / "tinystories_budget_small" / "seed=0"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_each_is_short_and_stands_in_the_docs_as_it_is(file: Path) -> None:
    text = file.read_text()
    assert text.count("\n") <= LINES
    assert file.stem == "__init__" or text in (ROOT / "docs" / "extending.md").read_text()


def test_the_consumer_writes_its_table_for_every_variant(run: Path) -> None:
    table = pq.read_table(next(iter(sorted((run / "metrics" / "surprise").iterdir()))))
    assert set(table.column_names) >= {"run", "seed", "interval", "variant", "split", "surprising", "token_count"}
    last = pq.read_table(max((run / "metrics" / "surprise").iterdir()))
    assert set(last["variant"].to_pylist()) == {"raw", "half_way_back"}


def test_the_corpus_and_the_model_are_those_of_the_example(run: Path) -> None:
    assert "counting:400x30" in (run / "manifest.json").read_text()
    with safe_open(max((run / "snapshots").iterdir()), "pt") as snapshot:
        assert "trajlab_example.model.BagOfWords" in snapshot.metadata()["model"]
        assert set(snapshot.keys()) == {"embedding.weight", "norm.weight", "norm.bias"}


def test_the_report_has_the_section(outside: Path, run: Path) -> None:
    python(outside, "-m", "trajlab.analysis", "report", str(run.parent), "--out", "report")
    assert "Surprising tokens" in (outside / "report" / "report.md").read_text()


def test_the_law_is_among_the_laws_and_finds_its_own_curve(outside: Path) -> None:
    code = (
        "import numpy as np, pandas as pd\n"
        "from trajlab.analysis.curve_laws import laws\n"
        "law = {law.name: law for law in laws()}['square_root']\n"
        "step = np.arange(0, 3000, 100)\n"
        "fitted = law.fit(pd.DataFrame({'step': step, 'loss': 9 / np.sqrt(step + 50) + 2}))\n"
        "print(*(round(float(fitted.params[k]), 3) for k in 'abc'))\n"
    )
    assert python(outside, "-c", code).stdout.split() == ["9.0", "50.0", "2.0"]


def test_the_task_runs(outside: Path) -> None:
    done = python(outside, "-m", "trajlab", *RUN, "task=longest_words")
    assert done.stderr.startswith("counting:400x30: ")
