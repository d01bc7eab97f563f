"""A whole run, from the command line's configuration to the report."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import MICRO, run_here
from trajlab.analysis.__main__ import main as analysis_main
from trajlab.analysis.load import load_runs


def test_tables_of_a_run(micro: Callable[..., Path]) -> None:
    runs = load_runs(micro())
    intervals = runs.intervals
    assert intervals["interval"].tolist() == list(range(7))
    assert intervals["tokens"].tolist() == [0, 320, 640, 960, 1280, 1600, 1920]
    assert intervals["epoch"].iloc[-1] == pytest.approx(3.0)
    assert intervals["unique_tokens"].tolist() == [0, 320, 640, 640, 640, 640, 640]
    assert np.allclose(intervals["loss"], intervals["nll_sum"] / intervals["token_count"])
    assert intervals["train_loss"].isna().tolist() == [True] + [False] * 6
    assert runs.steps["step"].tolist() == list(range(1, 31))
    by_interval = runs.steps.groupby("interval")["train_loss"].mean()
    assert np.allclose(by_interval, intervals["train_loss"].iloc[1:])
    assert len(runs.positions) == 7 * 16


def test_the_learning_rate_follows_the_schedule_by_tokens(micro: Callable[..., Path]) -> None:
    steps = load_runs(micro("schedule=cosine", "schedule.warmup_tokens=128")).steps
    assert steps["lr"].iloc[:2].tolist() == pytest.approx([0.0015, 0.003])
    assert steps["lr"].iloc[-1] == pytest.approx(0.0003)


def test_the_manifest_tells_what_was_run(micro: Callable[..., Path]) -> None:
    manifest = json.loads((micro() / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["config"]["optimizer"]["lr"] == 0.003
    assert manifest["data"]["source"].startswith("embedded:StoryGrammar")
    assert 0 < manifest["data"]["entropy_floor"]["valid"] < 5
    assert manifest["parameters"] > 0
    assert manifest["versions"]["torch"] == torch.__version__


def test_a_report_is_made_of_the_runs(
    micro: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = micro(seed=0).parent
    micro(seed=1)
    analysis_main(["report", str(folder), "--out", str(tmp_path / "report")])
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<svg") > 5
    assert "src=" not in page.split("<body", 1)[1].split("<script", 1)[0]  # the page is whole by itself
    assert "2 runs" in page
    assert (tmp_path / "report" / "report.md").stat().st_size > 1_000
    assert "report.html" in capsys.readouterr().out


def test_runs_on_different_data_are_not_pooled(micro: Callable[..., Path]) -> None:
    folder = micro(seed=0).parent
    micro("data.unique_tokens=960", seed=1)
    with pytest.raises(ValueError, match="different data"):
        load_runs(folder)


def test_micro_batches_and_bf16_and_compile_are_options(micro: Callable[..., Path]) -> None:
    plain = load_runs(micro(runs="plain")).intervals["loss"]
    split = load_runs(micro("trainer.micro_batch_windows=1", runs="split")).intervals["loss"]
    low = load_runs(micro("trainer.precision=bf16-mixed", runs="low")).intervals["loss"]
    assert np.allclose(plain, split, atol=1e-4)
    assert np.allclose(plain, low, atol=0.05)
    assert not np.array_equal(plain, low)


def test_a_validation_split_of_another_corpus(micro: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text(
        "<|endoftext|>".join(f"Entry {i}: nothing happened on day {i}." for i in range(900))
    )
    runs = load_runs(micro(f"+data.validation.ood={{windows: 4, source: {tmp_path / 'other.txt'}}}"))
    losses = runs.intervals.pivot_table(index="interval", columns="split", values="loss")
    assert set(losses.columns) == {"valid", "ood"}
    assert (losses["ood"] > losses["valid"]).iloc[-1]


def test_a_plug_in_consumer_from_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plug_in.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    run_here(*MICRO, f"runs_dir={tmp_path}", "+callbacks.mine._target_=plug_in.LargestLoss")
    table = load_runs(tmp_path).table("largest")
    assert table["interval"].tolist() == list(range(7))
    assert (table["nll"] > 5).all()


PLUG_IN = """
import pyarrow as pa
from trajlab.evaluation.context import RunCallback

class LargestLoss(RunCallback):
    table = "largest"
    def begin(self, interval, variant, split):
        self.nll, self.where = 0.0, (variant, split)
    def update(self, nll_BT, mask_BT, tokens_BT):
        self.nll = max(self.nll, float(nll_BT.max()))
    def rows(self):
        return pa.table({"variant": [self.where[0]], "split": [self.where[1]], "nll": [self.nll]})
"""


def test_prepare_says_what_it_made(capfd: pytest.CaptureFixture[str]) -> None:
    run_here(*MICRO, "task=prepare")
    assert "640 training tokens, 300 entries" in capfd.readouterr().err


def test_an_exported_snapshot_is_opened_by_transformers(micro: Callable[..., Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trajlab.checkpoints.snapshots import load_snapshot

    snapshot = max((micro() / "snapshots").iterdir())
    run_here(*MICRO, "task=export", f"snapshot='{snapshot}'", f"to={tmp_path / 'hf'}")
    ids = AutoTokenizer.from_pretrained(tmp_path / "hf")("Once upon a time", return_tensors="pt").input_ids
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")(ids).logits
        assert (theirs - load_snapshot(snapshot).eval()(ids)).abs().max() < 1e-4
