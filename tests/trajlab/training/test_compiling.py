"""Whether a run is compiled."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trajlab.analysis import load_runs
from trajlab.errors import UserError
from trajlab.training import compiling
from trajlab.training.compiling import compiled, earns_it

SMALL, FULL = (133_440, 1_024_000), (4_260_000, 20_000_000)
"""Parameters and tokens of the small twin and of the budget study."""


def test_a_run_must_be_long_enough_to_earn_the_time_of_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert not compiled("auto", *SMALL, "cpu")
    assert compiled("auto", *FULL, "cpu")
    assert not compiled("auto", *FULL, "gpu")  # which is done in seconds
    # at the point itself: 60 s of compiling against 8 % of the run
    rate = compiling.FLOPS_PER_SECOND["cpu"]
    tokens = round(compiling.SECONDS / compiling.SAVED * rate / 6 / 1e6)
    assert not earns_it(1_000_000, tokens * 99 // 100, "cpu")
    assert earns_it(1_000_000, tokens * 101 // 100, "cpu")


def test_what_a_resumed_run_was_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert compiled("auto", *SMALL, "cpu", stored=True)
    assert not compiled("auto", *FULL, "cpu", stored=False)
    assert compiled(True, *SMALL, "cpu", stored=False)  # what is asked for in words holds


def test_without_a_compiler_it_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        UserError, match="trainer.compile=auto needs a C\\+\\+ compiler, and there is no no-such-compiler"
    ):
        compiled("auto", *FULL, "cpu")
    assert not compiled("auto", *SMALL, "cpu")
    assert compiled(True, *SMALL, "gpu")


def test_a_short_run_under_auto_is_an_eager_one_to_the_bit(
    micro: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["intervals.budget_tokens=320", "intervals.every_tokens=160"]
    plain, auto = micro(*short, runs="plain"), micro(*short, "trainer.compile=auto", runs="auto")
    assert [json.loads((f / "manifest.json").read_text())["compiled"] for f in (plain, auto)] == [False, False]
    losses = [load_runs(f).steps["train_loss"].to_numpy() for f in (plain, auto)]
    assert np.array_equal(*losses)


def test_the_manifest_keeps_the_choice_for_whoever_resumes(
    micro: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def choose(*_: object) -> bool:
        asked.append(_[-1])
        return False

    monkeypatch.setattr("trajlab.training.trainer.compiled", choose)
    line = ["intervals.budget_tokens=320", "intervals.every_tokens=160", "trainer.compile=auto"]
    manifest = micro(*line) / "manifest.json"
    stored = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**stored, "status": "running"}))
    micro(*line)
    assert asked == [None, False]
