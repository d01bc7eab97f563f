"""A series grows, has holes, and takes another text or task later: only what is missing is computed."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.series_material import byte_tokenizer, transformers_model, write_checkpoint, write_series
from tests.trajlab.tasks.test_evaluate import DOCUMENTS, _overrides, _stripped
from trajlab.analysis.load import Runs, load_runs
from trajlab.checkpoints.sources import Checkpoint
from trajlab.checkpoints.weights import read_weights, write_weights
from trajlab.errors import UserError
from trajlab.measures.progress import comparable, numbered, part_suffix, union
from trajlab.store.identity import differing_keys
from trajlab.store.renumber import NEW, OLD, finish_renumbering


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("published"), [0, 1, 2, 4])


@pytest.fixture
def evaluate(published: Path, tmp_path: Path) -> Callable[..., Runs]:
    from tests.conftest import run_here

    def do(*more: str, of: Path = published, runs: str = "runs") -> Runs:
        run_here(*_overrides(of, tmp_path / runs), *more)
        return load_runs(tmp_path / runs)

    return do


def _stamps(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("part-*.parquet") if p.parent.name != "probes"}


def test_a_series_grows_at_its_end_and_between(evaluate: Callable[..., Runs], tmp_path: Path) -> None:
    evaluate("model.series.steps=[0,2]")
    before = _stamps(tmp_path / "runs")
    grown = evaluate("model.series.steps=[0,2,4]")
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert grown.intervals["step"].tolist() == [0, 2, 4]
    filled = evaluate()
    assert filled.intervals["interval"].tolist() == [0, 1, 2, 3]
    whole = evaluate(runs="whole")
    assert _stripped(filled) == _stripped(whole), "as if all had been there from the start"
    assert evaluate("model.series.steps=[0]").intervals["step"].tolist() == [0, 1, 2, 4], "nothing is taken away"


def test_a_compacted_series_grows_like_any_other(evaluate: Callable[..., Runs], tmp_path: Path) -> None:
    from tests.conftest import run_here

    whole = _stripped(evaluate(runs="whole"))
    evaluate("model.series.steps=[0,4]")
    run_here("task=compact", f"runs={tmp_path / 'runs'}")
    stamps = _stamps(tmp_path / "runs")
    assert len(stamps) <= 6
    evaluate("model.series.steps=[0,4]")
    assert _stamps(tmp_path / "runs") == stamps, "nothing to do, nothing touched"
    assert _stripped(evaluate()) == whole


def test_a_text_and_a_task_come_later(evaluate: Callable[..., Runs], tmp_path: Path) -> None:
    examples = [{"input": f"q{i}", "target_scores": {"a": 1, "bb": 0}} for i in range(5)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.json").write_text(json.dumps({"name": name, "examples": examples}))
    steps = "model.series.steps=[0,1]"
    evaluate(steps)
    before = _stamps(tmp_path / "runs")
    one, two = (f"benchmark.tasks=[{tmp_path / n / 'task.json'}]" for n in ("one", "two"))
    bare = evaluate(steps, one, "benchmark.items=false")
    assert set(bare.tasks["task"]) == {"one"}
    assert bare.table("task_items").empty
    assert set(evaluate(steps, two).tasks["task"]) == {"one", "two"}
    means = _stamps(tmp_path / "runs")
    items = evaluate(steps, one).table("task_items")
    assert items.groupby(["task", "interval"]).size().tolist() == [3] * 4, "questions can be had later too"
    assert {p: p.stat().st_mtime_ns for p in means} == means
    later = evaluate(steps, "+data.validation.ood.windows=1")
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert later.intervals.groupby("split").size().to_dict() == {"ood": 2, "valid": 2}
    both = evaluate(steps, f"benchmark.tasks=[{tmp_path}/*/task.json]", "+data.validation.ood.windows=1", runs="both")
    for name in ("intervals", "positions", "tokens"):
        keys = [c for c in ("variant", "split", "interval", "position", "probe") if c in both.table(name)]
        a, b = (r.table(name).sort_values(keys, ignore_index=True).drop(columns=["experiment"]) for r in (later, both))
        columns = [c for c in a if not c.startswith("seconds")]
        assert a[columns].to_json() == b[columns].to_json(), name
    assert later.manifests[0]["data"] == both.manifests[0]["data"]
    with pytest.raises(UserError, match="benchmark.shots"):
        evaluate(steps, one, "benchmark.shots=3")
    with pytest.raises(UserError, match="evaluation.documents"):
        evaluate(steps, "evaluation.documents=2")


def test_a_task_that_fails_leaves_the_losses(
    evaluate: Callable[..., Runs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [{"input": f"q{i}", "target_scores": {"a": 1, "bb": 0}} for i in range(5)]
    (tmp_path / "task.json").write_text(json.dumps({"name": "one", "examples": examples}))
    asked = ["model.series.steps=[0,1]", f"benchmark.tasks=[{tmp_path / 'task.json'}]"]

    def no_cache(*_: object) -> None:
        raise NotImplementedError("this architecture's cache can't be repeated")

    with monkeypatch.context() as patch:
        patch.setattr("trajlab.measures.multiple_choice.option_likelihoods", no_cache)
        with pytest.raises(NotImplementedError):
            evaluate(*asked)
    before = _stamps(tmp_path / "runs")
    assert {"intervals", "positions", "tokens"} <= {p.parent.name for p in before}
    runs = evaluate(*asked)
    assert {p: p.stat().st_mtime_ns for p in before} == before, "what was computed is not computed again"
    assert runs.intervals["interval"].tolist() == [0, 1]
    assert set(runs.tasks["interval"]) == {0, 1}


def test_a_task_that_nobody_knows_is_refused_before_a_loss_is_computed(
    evaluate: Callable[..., Runs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = SimpleNamespace(match_tasks=lambda names: [])
    for name, members in {
        "lm_eval": {"simple_evaluate": None},
        "lm_eval.tasks": {"TaskManager": lambda include_path: manager},
        "lm_eval.models.huggingface": {"HFLM": None},
    }.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**members))
    with pytest.raises(UserError, match="no task 'piqua'"):
        evaluate("benchmark.backend=lm_eval", "benchmark.tasks=[piqua]")
    assert not list((tmp_path / "runs").rglob("*.parquet"))


def test_each_of_several_texts_has_its_own_bits_per_byte(evaluate: Callable[..., Runs], tmp_path: Path) -> None:
    laws = tmp_path / "laws.txt"
    documents = [f"§ {i}. Nobody shall do what § {i + 1} forbids." for i in range(100, 500)]  # of one length
    laws.write_text("<|endoftext|>".join(documents))
    rows = evaluate(
        "model.series.steps=[0]", f"+data.validation.laws={{windows: 1, source: {laws}}}"
    ).intervals.set_index("split")
    assert rows.loc["laws", "byte_count"] == DOCUMENTS * len(documents[0].encode())
    assert rows.loc["laws", "byte_count"] != rows.loc["valid", "byte_count"]
    bits = rows["nll_sum"] / np.log(2) / rows["byte_count"]
    np.testing.assert_allclose(rows["bits_per_byte"], bits)


def test_the_last_window_is_aligned_where_asked(evaluate: Callable[..., Runs]) -> None:
    asked = ["model.series.steps=[0]", "evaluation.stride=48"]
    plain, aligned = (evaluate(*asked, f"evaluation.align_last={a}", runs=a).intervals for a in ("false", "true"))
    assert aligned["token_count"].tolist() == plain["token_count"].tolist()
    assert aligned["loss"].item() != plain["loss"].item()


@pytest.fixture
def holed(published: Path, tmp_path: Path) -> Path:
    """A series whose second checkpoint lacks a tensor and whose third is truncated."""
    folder = tmp_path / "holed"
    shutil.copytree(published, folder)
    weights = {n: t.clone() for n, t in read_weights(folder / "step1").items()}
    weights.pop("gpt_neox.layers.0.mlp.dense_h_to_4h.weight")
    write_weights(folder / "step1/model.safetensors", weights, {"format": "pt"})
    cut = folder / "step2/model.safetensors"
    cut.write_bytes(cut.read_bytes()[:5000])
    return folder


def test_a_series_goes_on_without_bad_checkpoints(
    evaluate: Callable[..., Runs], holed: Path, published: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="drawn at random"):
        evaluate(of=holed)
    runs = evaluate("skip_broken=true", of=holed)
    assert "warning: step1 is left out" in capfd.readouterr().err
    assert runs.intervals["step"].tolist() == [0, 4]
    [manifest] = runs.manifests
    assert [b["revision"] for b in manifest["broken"]] == ["step1", "step2"]
    assert manifest["status"] == "finished"
    shutil.copytree(published, holed, dirs_exist_ok=True)
    mended = evaluate(of=holed)
    assert mended.manifests[0]["broken"] == []
    assert mended.intervals["interval"].tolist() == [0, 1, 2, 3]
    assert _stripped(mended) == _stripped(evaluate(runs="whole"))


def test_a_stopped_series_goes_on_with_other_steps(evaluate: Callable[..., Runs], holed: Path) -> None:
    with pytest.raises(UserError):
        evaluate(of=holed)
    assert evaluate("model.series.steps=[0,4]", of=holed).intervals["step"].tolist() == [0, 4]


def test_holes_and_averages_exclude_each_other(evaluate: Callable[..., Runs]) -> None:
    with pytest.raises(UserError, match="averaging=none"):
        evaluate("skip_broken=true", "averaging=ema")
    evaluate("averaging=lawa", "model.series.steps=[0,2]")
    with pytest.raises(UserError, match="at the end only"):
        evaluate("averaging=lawa", "model.series.steps=[0,1,2]")
    grown = evaluate("averaging=lawa", "model.series.steps=[0,2,4]")
    assert grown.intervals.query("variant == 'lawa5'")["step"].tolist() == [0, 2, 4]


def test_another_context_or_tokenizer_inside_a_series(evaluate: Callable[..., Runs], tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [0, 1])
    model = transformers_model("opt")
    model.config.max_position_embeddings = 40
    short = type(model)(model.config)
    shutil.rmtree(folder / "step1")
    short.save_pretrained(folder / "step1")
    byte_tokenizer().save_pretrained(folder / "step1")
    with pytest.raises(UserError, match=r"step1: the model takes 40 positions, the windows have 48; write evaluation"):
        evaluate(of=folder)
    write_checkpoint(folder / "step1")
    spec = json.loads((folder / "step1/tokenizer.json").read_text())
    a, b = spec["model"]["vocab"]["a"], spec["model"]["vocab"]["e"]
    spec["model"]["vocab"] |= {"a": b, "e": a}
    (folder / "step1/tokenizer.json").write_text(json.dumps(spec))
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(UserError, match="step1: its tokenizer cuts the text otherwise"):
        evaluate(of=folder)
    assert len(evaluate(f"model.tokenizer={folder / 'step0'}", of=folder).intervals) == 2


def test_weights_without_a_finite_loss_are_said(
    evaluate: Callable[..., Runs], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_series(tmp_path / "s", [0, 1, 2, 3, 4])
    weights = {n: t.clone() for n, t in read_weights(folder / "step2").items()}
    weights["gpt_neox.final_layer_norm.bias"].fill_(torch.nan)
    write_weights(folder / "step2/model.safetensors", weights, {"format": "pt"})
    runs = evaluate(of=folder)
    assert "warning: step2 has no finite loss on valid" in capfd.readouterr().err
    from trajlab.analysis.checkpoint_series import probed_runs
    from trajlab.analysis.report import write_report

    with pytest.warns(UserWarning, match=r"step 2.* no finite loss"):
        [probed] = probed_runs(runs)
    assert probed.nll_MC.shape == (40, 4)
    assert probed.tokens_C.tolist() == [0, 1000, 3000, 4000]
    write_report(runs, tmp_path / "report", "series")


# ---- the parts


def _listed(*steps: int) -> list[Checkpoint]:
    return [Checkpoint(i, s, s, f"step{s}") for i, s in enumerate(steps)]


def test_stored_checkpoints_keep_their_number_where_there_is_room() -> None:
    assert numbered(_listed(0, 2), {}) == {(0, "step0"): 0, (2, "step2"): 1}
    stored = {(0, "step0"): 0, (4, "step4"): 3}
    assert list(numbered(_listed(0, 1, 2, 4), stored).values()) == [0, 1, 2, 3]
    assert list(numbered(_listed(0, 4, 9), stored).values()) == [0, 3, 4]
    assert list(numbered(_listed(0, 1, 2, 3, 4), stored).values()) == [0, 1, 2, 3, 4]


def test_a_crash_while_renumbering_leaves_one_of_the_two(tmp_path: Path) -> None:
    for names, kept in (([OLD, NEW], NEW), (["metrics", NEW], "metrics"), ([OLD, "metrics"], "metrics")):
        run = tmp_path / "-".join(names)
        for name in names:
            (run / name).mkdir(parents=True)
            (run / name / name).touch()
        finish_renumbering(run)
        assert [p.name for p in run.rglob("*")] == ["metrics", kept]


def test_part_names_are_safe_and_different() -> None:
    assert part_suffix("losses:ood") == "losses-ood"
    assert part_suffix("task:a:b") != part_suffix("task:a-b")
    assert set("./ ") & set(part_suffix("task:a/b.c d")) == set()


OLDER = {
    "task": {"_target_": "trajlab.run.evaluate", "tasks": ["a"], "backend": "bigbench", "shots": 2, "limit": None},
    "measures": {"m": {"_target_": "x.Y"}},
    "data": {"validation": {"valid": {"windows": 1}}},
}


def test_keys_that_have_moved_are_the_same() -> None:
    task = {"_target_": "trajlab.tasks.evaluate.evaluate"}
    benchmark = {"tasks": ["b"], "backend": "bigbench", "shots": None, "limit": None, "include_path": None}
    asked = {**OLDER, "task": task, "benchmark": benchmark, "measures": {}}
    assert differing_keys(OLDER, comparable(asked, OLDER)) == []
    assert union(asked, OLDER)["benchmark"]["tasks"] == ["a", "b"]
    assert union(asked, OLDER)["measures"] == OLDER["measures"]
    other = {**asked, "benchmark": {**benchmark, "shots": 5}}
    assert [d.key for d in differing_keys(OLDER, comparable(other, OLDER))] == ["benchmark.shots"]
