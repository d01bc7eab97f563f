"""A series is evaluated like a run: once each, whatever interrupts it, and what is wrong with it is said."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.conftest import MICRO, ROOT, SERIES_MICRO, run_here
from tests.series_material import byte_tokenizer, write_checkpoint, write_series
from trajlab.analysis.load import Runs, load_runs
from trajlab.averaging import ema, lawa
from trajlab.averaging.over_series import SeriesAverages, needed, taken_by
from trajlab.checkpoints.convert import write_folder
from trajlab.checkpoints.sources import Checkpoint
from trajlab.data.corpora import EmbeddedCorpus
from trajlab.errors import UserError
from trajlab.store.run_store import RunStore

STEPS = [0, 1, 2, 4]
CONTEXT, STRIDE, DOCUMENTS = 48, 16, 3


def _overrides(series: Path, runs: Path) -> list[str]:
    return [
        "task=evaluate", "series=hf_folders", "name=series", "model.name=tiny", f"runs_dir={runs}",
        f"model.series.pattern='{series}/step{{step}}'", "model.series.tokens_per_step=1000",
        "data.source=embedded", "data.validation.valid.windows=1", f"evaluation.documents={DOCUMENTS}",
        f"evaluation.context={CONTEXT}", f"evaluation.stride={STRIDE}", "callbacks.token_loss.probes=40",
        "trainer.threads=1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("series"), STEPS)


@pytest.fixture
def evaluate(series: Path, tmp_path: Path) -> Callable[..., Runs]:
    def do(*more: str, of: Path = series) -> Runs:
        run_here(*_overrides(of, tmp_path / "runs"), *more)
        return load_runs(tmp_path / "runs")

    return do


def _stripped(runs: Runs) -> dict[str, str]:
    """Tables without times, as text."""
    return {
        name: frame.drop(columns=[c for c in frame if c.startswith("seconds")]).to_json()
        for name, frame in runs.tables.items()
    }


def test_tables_agree_with_a_plain_forward(evaluate: Callable[..., Runs], series: Path) -> None:
    runs = evaluate()
    documents = list(EmbeddedCorpus().grammar.stories("valid", DOCUMENTS))
    for index, step in enumerate(STEPS):
        tokenizer = AutoTokenizer.from_pretrained(series / f"step{step}")
        model = AutoModelForCausalLM.from_pretrained(series / f"step{step}")
        stream = [0]
        for d in documents:
            stream += [*tokenizer(d, add_special_tokens=False)["input_ids"], 0]
        nll = _by_hand(model, torch.tensor(stream))
        row = runs.intervals.query(f"interval == {index}").iloc[0]
        assert row["token_count"] == len(nll) == len(stream) - 1
        assert row["loss"] == pytest.approx(float(nll.mean()), abs=1e-5)
        assert row["byte_count"] == sum(len(d.encode()) for d in documents)
        assert (row["step"], row["tokens"], row["variant"]) == (step, 1000 * step, "raw")
        positions = runs.positions.query(f"interval == {index}")
        assert positions["nll_sum"].sum() == pytest.approx(row["nll_sum"], rel=1e-9)
        assert positions["count"].sum() == row["token_count"]
        assert positions["count"].iloc[0] == 1, "with a stride, only the first window scores its first target"
        probes = runs.table("probes").sort_values("probe")
        tokens = runs.tokens.query(f"interval == {index}")
        # where in the stream each probe stands
        places = probes["window"] * STRIDE + probes["position"] - 1
        assert len(tokens) == 40
        assert [stream[p + 1] for p in places] == probes["token_id"].tolist()
        torch.testing.assert_close(
            torch.tensor(tokens["nll"].to_numpy()), nll[places.to_numpy()].float(), atol=1e-5, rtol=0
        )
    versions = runs.manifests[0]["versions"]
    assert versions["transformers"] == version("transformers")
    assert "lm-eval" in versions
    assert runs.intervals["seed"].isna().all()
    assert runs.intervals["loss"].nunique() == len(STEPS)


def _by_hand(model: Any, stream: torch.Tensor) -> torch.Tensor:
    losses: list[torch.Tensor] = []
    for start in range(0, len(stream), STRIDE):
        part = stream[start : start + CONTEXT + 1]
        with torch.no_grad():
            nll = F.cross_entropy(model(part[None]).logits[0, :-1], part[1:], reduction="none")
        reached = sum(map(len, losses))
        losses.append(nll[reached - start :])
        if reached + len(losses[-1]) == len(stream) - 1:
            break
    return torch.cat(losses).double()


def test_a_finished_series_is_left_alone(
    evaluate: Callable[..., Runs], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    evaluate()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*.parquet")}
    evaluate()
    assert "finished already" in capfd.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*.parquet")} == before
    with pytest.raises(UserError, match="evaluation.stride"):
        evaluate("evaluation.stride=8")


def test_a_costly_separator_and_another_context_are_said(
    evaluate: Callable[..., Runs], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_series(tmp_path / "s", [0])
    model = AutoModelForCausalLM.from_pretrained(folder / "step0")
    with torch.no_grad():  # every byte alike, and never an end of text
        model.gpt_neox.final_layer_norm.weight.zero_()
        model.gpt_neox.final_layer_norm.bias.fill_(1.0)
        model.get_output_embeddings().weight.zero_()
        model.get_output_embeddings().weight[0] = -1.0
    model.save_pretrained(folder / "step0")
    runs = evaluate(of=folder)
    said = capfd.readouterr().err
    assert "warning: split valid: what stands between documents costs 37.5 nats each" in said
    assert "separator_cost" not in runs.tables
    assert runs.manifests[0]["data"]["context"] == CONTEXT
    assert runs.intervals["loss"].item() > 5.57, "the separators are in the loss"
    other = evaluate("model.name=other", "evaluation.separator=none", "evaluation.context=32", of=folder)
    said = capfd.readouterr().err
    assert "nats each" not in said
    assert "warning: windows of 32 tokens here, but of another length in the same experiment (tiny 48)" in said
    assert other.intervals.query("run == 'other'")["loss"].item() == pytest.approx(5.545, abs=2e-3)


class Stop(Exception):
    pass


@pytest.mark.parametrize("averaging", ["none", "lawa", "ema"])
def test_an_interrupted_series_goes_on(
    evaluate: Callable[..., Runs], series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, averaging: str
) -> None:
    more = [f"averaging={averaging}", *(["averaging.lawa.k=2"] if averaging == "lawa" else [])]
    whole = _stripped(evaluate(*more))
    shutil.rmtree(tmp_path / "runs")
    write, done = RunStore.write, []

    def failing(self: RunStore, table: str, *rest: Any) -> None:
        if table == "checkpoints" and len(done) == 2:
            raise Stop  # the third checkpoint's other tables are there, its mark is not
        done.extend([table] * (table == "checkpoints"))
        write(self, table, *rest)

    monkeypatch.setattr(RunStore, "write", failing)
    with pytest.raises(Stop):
        evaluate(*more)
    monkeypatch.setattr(RunStore, "write", write)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("intervals/part-0000[01].parquet")}
    again = evaluate(*more)
    assert _stripped(again) == whole
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    assert again.manifests[0]["status"] == "finished"


@pytest.mark.slow
def test_killed_and_started_again(series: Path, tmp_path: Path, evaluate: Callable[..., Runs]) -> None:
    command = [sys.executable, "-m", "trajlab", *_overrides(series, tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "step1 (2 of 4)" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    folder = tmp_path / "killed" / "series" / "tiny"
    assert json.loads((folder / "manifest.json").read_text())["status"] == "running"
    done = {p: p.stat().st_mtime_ns for p in folder.glob("metrics/checkpoints/*.parquet")}
    assert 2 <= len(done) < 4
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert _stripped(load_runs(folder)) == _stripped(evaluate())


def test_averages_are_those_of_the_weights(evaluate: Callable[..., Runs], series: Path, tmp_path: Path) -> None:
    runs = evaluate("averaging=lawa", "averaging.lawa.k=2")
    states = [AutoModelForCausalLM.from_pretrained(series / f"step{s}").state_dict() for s in STEPS]
    mean = {n: (states[2][n] + states[3][n]) / 2 for n in states[0]}
    averaged = write_checkpoint(tmp_path / "averaged" / "step4")
    model = AutoModelForCausalLM.from_pretrained(averaged)
    model.load_state_dict(mean)
    model.save_pretrained(averaged)
    run_here(*_overrides(tmp_path / "averaged", tmp_path / "other"))
    expected = load_runs(tmp_path / "other").intervals["loss"].item()
    found = runs.intervals.set_index(["variant", "interval"])["loss"]
    assert found["lawa2", 3] == pytest.approx(expected, abs=1e-6)
    assert found["lawa2", 0] == pytest.approx(found["raw", 0], abs=1e-6)


def test_each_checkpoint_is_brought_once_and_a_window_again_after_an_interruption() -> None:
    series = [Checkpoint(i, i, i, str(i)) for i in range(8)]
    averager = lawa(3, every_steps=1, start=0)
    assert needed(series, set(), [averager]) == series
    assert [c.index for c in needed(series, set(range(5)), [averager])] == [3, 4, 5, 6, 7]
    assert [c.index for c in needed(series, set(range(5)), [])] == [5, 6, 7]
    assert [c.index for c in needed(series, set(range(5)), [ema(0.5, start=0)])] == list(range(8))
    assert needed(series, set(range(8)), [averager]) == []
    assert taken_by(lawa(3, every_steps=3), series) == [3, 6]
    averages = SeriesAverages([averager], series)
    for c in series[:4]:
        averages.push(c, {"w": torch.tensor([float(c.step)])})
    [(name, weights)] = averages.variants()
    assert (name, weights["w"].item()) == ("lawa3", 2.0)


def test_two_checkpoints_with_one_hash_are_reported(
    evaluate: Callable[..., Runs], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_series(tmp_path / "s", [0, 1])
    shutil.copytree(folder / "step0", folder / "step2")
    runs = evaluate(of=folder)
    assert "warning: step2 has the very weights of step0" in capfd.readouterr().err
    assert runs.manifests[0]["duplicates"] == [["step0", "step2"]]
    rows = runs.table("checkpoints")
    assert rows["same_weights_as"].tolist()[2] == "step0"
    assert rows["same_weights_as"].isna().tolist() == [True, True, False]


def test_a_foreign_tokenizer_is_refused(evaluate: Callable[..., Runs], tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["zebra", "the"])  # the text has the second alone
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(
        UserError, match=r"ids up to 258 of this text, the model's embedding has 257 rows; set model\.tokenizer"
    ):
        evaluate(f"model.tokenizer={tmp_path / 'tokenizer'}")


def test_a_truncated_checkpoint_keeps_those_before_it(evaluate: Callable[..., Runs], tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [0, 1, 2])
    weights = folder / "step1" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:5000])
    with pytest.raises(UserError, match="can't be read .*truncated"):
        evaluate(of=folder)
    assert load_runs(tmp_path / "runs").intervals["interval"].tolist() == [0]
    weights.write_bytes(whole)
    assert evaluate(of=folder).intervals["interval"].tolist() == [0, 1, 2]


def test_a_full_disk_is_said(evaluate: Callable[..., Runs], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trajlab.store.run_store.pq.write_table", full)
    with pytest.raises(UserError, match="the disk is full"):
        evaluate()
    monkeypatch.undo()
    assert evaluate().manifests[0]["status"] == "finished"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluation.stride=49", "stride=49 is more than evaluation.context=48"),
        ("evaluation.context=65", "context=65 is more than the 64 positions"),
        ("evaluation.layout=loose", "must be one of stream, documents"),
        ("benchmark.backend=other", "must be one of bigbench, lm_eval"),
        ("model.dtype=float8", "must be one of float32"),
        ("model.remote_code=elsewhere", "must be 'tiny'"),
        ("model.device_map=auto", "needs the package accelerate"),
        ("callbacks.token_loss.split=ood", "is no validation split; there are valid"),
        ("model.series.steps=[3]", "no checkpoint 'step3'"),
        ("model.series.tokens_a_step=3", "tokens_a_step"),
    ],
)
def test_mistakes(evaluate: Callable[..., Runs], override: str, said: str) -> None:
    add = "+" if override.startswith("model.series.tokens_a") else ""
    with pytest.raises(UserError, match=said):
        evaluate(add + override)


def test_code_that_comes_with_a_checkpoint_is_not_run(evaluate: Callable[..., Runs], tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [0])
    proof = tmp_path / "ran"
    spec = json.loads((folder / "step0/config.json").read_text())
    spec |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (folder / "step0/config.json").write_text(json.dumps(spec))
    (folder / "step0/own.py").write_text(f"open({str(proof)!r}, 'w')\n")
    with pytest.raises(UserError):
        evaluate(of=folder)
    assert not proof.exists()


def test_a_runs_snapshots_are_a_series(micro: Callable[..., Path], tmp_path: Path) -> None:
    run = micro()
    shape = [
        "~model", "+model._target_=trajlab.models.hf.from_config", "+model.architecture=gpt_neox",
        "+model.vocab_size=300", "+model.hidden_size=16", "+model.num_hidden_layers=1", "+model.num_attention_heads=2",
        "+model.intermediate_size=32",
    ]  # fmt: skip
    micro_without_model = [o for o in MICRO if not o.startswith("model.")]
    run_here(*micro_without_model, *shape, f"runs_dir={tmp_path / 'neox'}", "seed=0")
    neox = tmp_path / "neox" / "tinystories_budget_small" / "seed=0"
    for path in (run, neox):
        trained = load_runs(path)
        out = tmp_path / f"evaluated-{path.parts[-3]}"
        run_here(
            "task=evaluate", "series=trajlab_run", "name=again", "model.name=mine", f"model.series.run='{path}'",
            "data.source=embedded", "evaluation.documents=2", "evaluation.context=16", f"runs_dir={out}",
            "trainer.threads=1",
        )  # fmt: skip
        again = load_runs(out)
        assert again.intervals["tokens"].tolist() == trained.intervals["tokens"].tolist()
        assert again.intervals["step"].tolist() == trained.intervals["step"].tolist()
        assert again.intervals["loss"].iloc[-1] < again.intervals["loss"].iloc[0]


def test_a_published_snapshot_is_the_trained_model(micro: Callable[..., Path], tmp_path: Path) -> None:
    from trajlab.checkpoints.convert import run_tokenizer
    from trajlab.checkpoints.snapshots import load_snapshot

    run = micro()
    snapshot = sorted((run / "snapshots").iterdir())[-1]
    write_folder(snapshot, tmp_path / "folder", run_tokenizer(run))
    spec = json.loads((tmp_path / "folder/tokenizer_config.json").read_text())
    assert spec["tokenizer_class"] == "PreTrainedTokenizerFast", "opens in transformers 4 and 5"
    assert spec["model_max_length"] == 16
    hf, own = AutoModelForCausalLM.from_pretrained(tmp_path / "folder"), load_snapshot(snapshot)
    tokens = torch.arange(16)[None]
    with torch.no_grad():
        torch.testing.assert_close(hf(tokens).logits, own(tokens), atol=1e-5, rtol=0)


def test_the_small_series_in_miniature(tmp_path: Path) -> None:
    overrides = ["experiment=checkpoint_series_small", f"runs_dir={tmp_path}", *SERIES_MICRO]
    run_here(*overrides)
    runs = load_runs(tmp_path / "checkpoint_series_small")
    assert {m["run"]: m["status"] for m in runs.manifests} == {"opt-tiny-s": "finished", "pythia-tiny-s": "finished"}
    trained = load_runs(tmp_path / "checkpoint_series_small_training")
    assert sorted(set(runs.intervals["tokens"])) == sorted(set(trained.intervals["tokens"]))
    assert set(runs.table("sequences")["kind"]) >= {"correct", "random", "mixture"}
    assert set(runs.tasks["task"]) == {"consistent_name", "consistent_object", "consistent_place"}
    assert len(runs.tokens)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"}
    run_here(*overrides)
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps, "nothing is done twice"
