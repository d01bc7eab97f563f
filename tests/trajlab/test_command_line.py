"""Answers of the command line that Hydra would give in dozens of lines: one line each, the nearest word named."""

import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from tests.conftest import MICRO
from trajlab.command_line import CommandLineError, command_line, run_line

ANSWERS = {
    "an unknown key": (["optimiser.lr=1e-3"], ["optimiser.lr", "did you mean optimizer.lr?"]),
    "an unknown key of a group": (["data.contxt=3"], ["did you mean data.context?"]),
    "a key that another one refers to": (["budget_tokens=5"], ["did you mean intervals.budget_tokens?"]),
    "a key that a target lacks": (["+optimizer.beta=1"], ["did you mean betas?"]),
    "a choice spelled out": (
        ["model={_target_: my_package.Mine, sizes: [1, 2]}"],
        ["model=… takes the name of a file (llama_4m, ", "--config-dir that folder model=mine"],
    ),
    "an unknown choice": (["optimizer=adam"], ["optimizer/adam", "did you mean adamw?", "muon"]),
    "an unknown model": (["model=lama_tiny"], ["did you mean llama_tiny?"]),
    "an unknown word": (["task=average", "runs=x", "scheme=lava"], ["did you mean lawa?"]),
    "no model": (["model=null"], ["must be a string"]),
    "no task": (["task=null"], ["must be a string"]),
    "half an override": (["seed"], ["seed"]),
    "a list that doesn't end": (["run_keys=[seed"], ["run_keys"]),
    "a reference to nothing": (["seed=${nope}"], ["nope"]),
    "a folder that can't be made": (["runs_dir=/dev/null/x", "task=train"], ["/dev/null/x", "Not a directory"]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_mistake_is_answered_in_a_line(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, words = ANSWERS[name]
    monkeypatch.setattr(sys, "argv", ["trajlab", *MICRO, f"runs_dir={tmp_path}", *overrides])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as e:
        run_line(sys.argv)
    told = str(e.value.code)
    assert told.startswith("trajlab: ")
    assert all(word in told for word in words), told
    assert len(told.splitlines()) <= 4
    assert "., did" not in told
    assert "Error executing" not in capsys.readouterr().err  # nothing stands between the command and its answer
    assert not list(tmp_path.iterdir())


def test_a_span_of_a_billion_is_refused() -> None:
    with pytest.raises(CommandLineError, match="1,000,000,001 runs"):
        command_line(["seed=0..1000000000", "-m"])


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("trajlab.tasks.run", fails)
    monkeypatch.setattr(sys, "argv", ["trajlab", "name=x"])
    GlobalHydra.instance().clear()
    with pytest.raises(ZeroDivisionError):
        run_line(sys.argv)
