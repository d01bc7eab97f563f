"""Whether a run is compiled."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    assert compiled("auto", *SMALL, "cpu", {"compiled": True})
    assert not compiled("auto", *FULL, "cpu", {"compiled": False})
    assert not compiled("auto", *FULL, "cpu", {"config": {"trainer": {"compile": False}}})  # an older manifest
    assert compiled("auto", *FULL, "cpu", {"config": {"trainer": {"compile": "auto"}}})
    assert compiled(True, *SMALL, "cpu", {"compiled": False})  # what is asked for in words holds


def test_without_a_compiler_auto_trains_without_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not compiled("auto", *SMALL, "cpu")
    assert capsys.readouterr().err == ""
    assert not compiled("auto", *FULL, "cpu")
    assert "warning: this run is long enough to be compiled, but there is no C++ compiler no-such-compiler" in (
        capsys.readouterr().err
    )


def test_without_a_compiler_what_was_asked_or_begun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        UserError, match="trainer.compile=true needs a C\\+\\+ compiler, and there is no no-such-compiler"
    ):
        compiled(True, *FULL, "cpu")
    with pytest.raises(UserError, match="begun compiled and needs a .* trainer.compile=false under another name"):
        compiled("auto", *FULL, "cpu", {"compiled": True})
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

    def choose(*_: Any) -> bool:
        asked.append(dict(_[-1]).get("compiled"))
        return False

    monkeypatch.setattr("trajlab.training.trainer.compiled", choose)
    line = ["intervals.budget_tokens=320", "intervals.every_tokens=160", "trainer.compile=auto"]
    manifest = micro(*line) / "manifest.json"
    stored = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**stored, "status": "running"}))
    micro(*line)
    assert asked == [None, False]


@pytest.mark.parametrize("asked", ["true", "false"])
def test_auto_goes_on_with_a_run_that_was_begun_otherwise(asked: str, micro: Callable[..., Path]) -> None:
    line = ["intervals.budget_tokens=320", "intervals.every_tokens=160"]
    if asked == "true" and shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    folder = micro(*line, f"trainer.compile={asked}")
    written = (folder / "manifest.json").read_text()
    assert micro(*line, "trainer.compile=auto") == folder  # finished already: skipped, not refused
    assert (folder / "manifest.json").read_text() == written
