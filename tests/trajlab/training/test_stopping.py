"""A run that is asked to stop, and a run whose numbers are no longer finite."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trajlab import interruption
from trajlab.analysis.load import load_runs
from trajlab.store.layout import MANIFEST_KEYS

HERE = "tests.trajlab.training.misfortune"
EQUAL = ["interval", "tokens", "step", "nll_sum", "nll_sq_sum", "train_loss", "grad_norm", "lr"]
Micro = Callable[..., Path]


def _signal(step: int, name: str) -> list[str]:
    return [f"+callbacks.signal={{_target_: {HERE}.SignalAt, step: {step}, name: {name}}}"]


def _status(folder: Path) -> str:
    return str(json.loads((folder / "manifest.json").read_text())["status"])


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_saves_the_step_that_it_came_in(name: str, micro: Micro, capsys: pytest.CaptureFixture[str]) -> None:
    whole = micro(runs="whole")
    with interruption.installed(), pytest.raises(interruption.Interrupted) as e:
        micro(*_signal(7, name), runs="broken")
    assert e.value.exit_code == {"SIGTERM": 143, "SIGINT": 130}[name]
    assert (
        "interrupted; saved at 512 tokens" in capsys.readouterr().err
    )  # 8 steps of 64 tokens; the marks are at 5 and 10
    folder = micro(*_signal(7, name), runs="broken")  # the step is not met again
    assert "resumes at 512 tokens" in capsys.readouterr().err
    for table in ("intervals", "steps"):
        wanted, got = (load_runs(f).table(table) for f in (whole, folder))
        columns = [c for c in EQUAL if c in wanted]
        pd.testing.assert_frame_equal(wanted[columns], got[columns], check_exact=True)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_between_two_steps_saves_the_next(name: str, micro: Micro, capsys: pytest.CaptureFixture[str]) -> None:
    between = f"+callbacks.signal={{_target_: {HERE}.SignalBetween, step: 7, name: {name}}}"
    with interruption.installed(), pytest.raises(interruption.Interrupted):
        micro(between)
    assert "interrupted; saved at 512 tokens" in capsys.readouterr().err


def test_what_an_evaluation_that_was_cut_off_costs_is_said(micro: Micro, capsys: pytest.CaptureFixture[str]) -> None:
    with interruption.installed(), pytest.raises(interruption.Interrupted):
        micro(f"+callbacks.signals={{_target_: {HERE}.SignalsWhileEvaluated, interval: 2}}")
    said = capsys.readouterr().err
    assert "interrupted; saved at 320 tokens; what came after, up to 640, is trained again" in said


def test_a_signal_before_the_first_step_ends_the_command(micro: Micro, capsys: pytest.CaptureFixture[str]) -> None:
    with interruption.installed(), pytest.raises(interruption.Interrupted):
        micro(f"+callbacks.signal._target_={HERE}.SignalAtSetup")
    assert "interrupted; " in capsys.readouterr().err


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(n) for n in interruption.SIGNALS]
    with interruption.installed():
        assert [signal.getsignal(n) for n in interruption.SIGNALS] != before
    assert [signal.getsignal(n) for n in interruption.SIGNALS] == before


def test_without_a_state_to_save_a_signal_stops_at_once() -> None:
    with interruption.installed(), pytest.raises(interruption.Interrupted, match="SIGTERM"):
        signal.raise_signal(signal.SIGTERM)


def test_a_second_signal_does_not_wait() -> None:
    with interruption.installed(), interruption.saving_first():
        signal.raise_signal(signal.SIGTERM)
        assert interruption.asked()
        with pytest.raises(interruption.Interrupted, match="SIGINT"):
            signal.raise_signal(signal.SIGINT)


def test_work_that_never_saves_is_stopped_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "GRACE_SECONDS", 0.05)
    with interruption.installed(), interruption.saving_first():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(interruption.Interrupted):
            signal.pause()


def _nan(steps: list[int], value: str = "nan") -> str:
    return f"+callbacks.nan={{_target_: {HERE}.NonFiniteGradients, steps: {steps}, seed: 0, value: '{value}'}}"


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_gradient_that_is_not_finite_ends_the_run_as_diverged(
    value: str, micro: Micro, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = micro(_nan([12], value))
    assert _status(folder) == "diverged"
    assert "DIVERGED at 832 of 1,920 tokens (step 13" in capsys.readouterr().err
    runs = load_runs(folder, diverged=True)
    assert runs.steps["step"].tolist() == list(range(1, 14))
    assert not np.isfinite(runs.steps["grad_norm"].iloc[-1])
    assert np.isfinite(runs.steps["grad_norm"].iloc[:-1]).all()
    assert runs.intervals["interval"].tolist() == [0, 1, 2]
    assert set(runs.manifests[0]) - {"folder"} <= set(MANIFEST_KEYS), "docs/tables.md says what each is"
    micro(_nan([12], value))
    assert "diverged before, skipped (overwrite=true" in capsys.readouterr().err


def test_a_rate_far_too_high_ends_the_run_as_diverged(micro: Micro, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(micro("optimizer.lr=1e6")) == "diverged"
    assert "DIVERGED at " in capsys.readouterr().err


def test_a_diverged_run_can_be_run_again(micro: Micro) -> None:
    micro(_nan([12]))
    assert _status(micro("overwrite=true")) == "finished"


def test_skip_leaves_that_update_out_and_nothing_else(micro: Micro, capsys: pytest.CaptureFixture[str]) -> None:
    folder = micro(_nan([12, 13]), "trainer.on_nonfinite=skip", "trainer.gradient_clip=null")
    assert _status(folder) == "finished"
    assert capsys.readouterr().err.count("the update is left out") == 1
    runs = load_runs(folder)
    steps, intervals = runs.steps, runs.intervals
    assert steps.loc[~np.isfinite(steps["grad_norm"]), "step"].tolist() == [13, 14]
    assert np.isfinite(intervals["loss"]).all()
    assert len(intervals) == 7
    assert len(steps) == 30
