"""Table `task_items`: its questions add up to the means of `tasks`, and cost no second pass."""

import gc
import json
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.series_material import byte_tokenizer, transformers_model
from trajlab.data.documents import EvaluationText
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.measures.items import LastAnswers, TaskItems
from trajlab.measures.lm_eval import harness_items
from trajlab.measures.multiple_choice import MultipleChoice
from trajlab.models.hf import HFModel
from trajlab.store.tables import TASK_ITEMS

TOKENIZER = byte_tokenizer()
NO_TEXT = EvaluationText({}, "none", None)
EXAMPLES = [{"input": f"{i}+1?", "target_scores": {"no": 0, f"{i + 1}": 1, "half": 0.5}} for i in range(9)]


def _measure(tmp_path: Path, examples: list[dict[str, Any]] = EXAMPLES, **options: Any) -> MultipleChoice:
    (tmp_path / "sums").mkdir(exist_ok=True)
    (tmp_path / "sums/task.json").write_text(json.dumps({"name": "sums", "examples": examples}))
    measure = MultipleChoice([str(tmp_path / "sums/task.json")], **options)
    TaskItems(measure).prepare(NO_TEXT, TOKENIZER)
    return measure


def _model(seed: int = 0) -> CheckpointModel:
    return CheckpointModel(HFModel(transformers_model("opt", seed)), TOKENIZER)


def test_the_questions_add_up_to_the_means_in_one_pass(tmp_path: Path) -> None:
    measure, model, passes = _measure(tmp_path), _model(), []
    model.hf.register_forward_pre_hook(lambda *a: passes.append(1))
    means = {r["metric"]: r for r in measure.rows(model).to_pylist()}
    done = len(passes)
    table = TaskItems(measure).rows(model)
    assert len(passes) == done, "the questions are those that were asked for the means"
    assert table.schema == TASK_ITEMS.rows
    rows = table.to_pylist()
    assert len(rows) == 7
    assert np.mean([r["correct"] for r in rows]) == means["multiple_choice_grade"]["value"]
    per_token = [r["gold_log_likelihood"] / r["option_tokens"][r["gold"]] for r in rows]
    assert np.mean(per_token) == pytest.approx(means["correct_log_likelihood"]["value"], rel=1e-12)
    for r in rows:
        assert r["gold"] == 1
        assert r["gold_log_likelihood"] == r["option_log_likelihoods"][1]
        assert r["option_bytes"] == [2, len(str(r["item"] + 1)), 4]
        assert r["chance"] == 0.5


def test_a_question_keeps_its_number_and_digest(tmp_path: Path) -> None:
    few = _measure(tmp_path, limit=3).items(_model())
    other = _measure(tmp_path, shots=0).items(_model(1))
    by_number = {i.item: i.digest for i in other}
    assert sorted(by_number) == list(range(9))
    assert len(set(by_number.values())) == 9
    assert {i.item: i.digest for i in few}.items() <= by_number.items()
    changed = [{**e, "input": "!" + e["input"]} for e in EXAMPLES]
    assert not set(by_number.values()) & {i.digest for i in _measure(tmp_path, changed).items(_model())}


def test_a_model_is_asked_anew_and_not_kept() -> None:
    last: LastAnswers[list[int]] = LastAnswers()
    asked: list[object] = []
    ask = lambda m: asked.append(id(m)) or [len(asked)]  # type: ignore[func-returns-value]  # noqa: E731
    model, other = _model(), _model(1)
    assert [last.of(m, ask) for m in (model, model, other, model)] == [[1], [1], [2], [3]]
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


# ---- the harness: samples as lm-evaluation-harness 0.4.13 gives them

MC = {
    "doc_id": 3, "doc": {"q": "3+1="}, "target": 1, "filter": "none", "metrics": ["acc", "acc_norm"], "doc_hash": "d3",
    "arguments": [("3+1= ", "4"), ("3+1= ", "no")], "filtered_resps": [(-5.0, False), (-2.5, False)],
    "acc": 1.0, "acc_norm": 0.0,
}  # fmt: skip
SAMPLES = {
    "mc": [MC, {**MC, "filter": "other", "acc": 0.0}],
    "two_contexts": [{**MC, "target": "went home", "arguments": [("A ", "went home"), ("B ", "went home")], "acc": 0.0}],
    "mutual": [{
        **MC, "arguments": [*MC["arguments"], ("", "4"), ("", "no")], "acc_mutual_info": 1.0,
        "filtered_resps": [*MC["filtered_resps"], (-1.0, False), (-9.0, False)],
    }],
    "lambada": [{
        "doc_id": 0, "doc": "x", "target": " dog", "filter": "none", "metrics": ["perplexity", "acc"], "acc": 0,
        "arguments": [("the", " dog")], "filtered_resps": [(-6.0, False)], "perplexity": -6.0, "doc_hash": "l",
    }],
    "wikitext": [{
        "doc_id": 1, "doc": "x", "target": "äbc", "filter": "none", "metrics": ["byte_perplexity"], "doc_hash": "w",
        "arguments": [("äbc",)], "filtered_resps": [-12.0], "byte_perplexity": (-12.0, 4),
    }],
    "gsm": [{
        "doc_id": 2, "doc": {"q": "x"}, "target": "4", "filter": "strict", "metrics": ["exact_match"], "doc_hash": "g",
        "arguments": [("x", {"until": ["."]})], "filtered_resps": ["5"], "exact_match": 0.0,
    }],
}  # fmt: skip


def test_the_harness_samples_become_items() -> None:
    items = {i.task: i for i in harness_items({"samples": SAMPLES}, len)}
    assert len(list(harness_items({"samples": SAMPLES}, len))) == len(SAMPLES), "of two filters the first"
    mc = items["mc"]
    assert (mc.item, mc.gold, mc.gold_log_likelihood, mc.correct, mc.chance) == (3, 1, -2.5, 1.0, 0.5)
    assert mc.option_log_likelihoods == (-5.0, -2.5)
    assert mc.option_tokens == (2, 3), "a token per letter here; the space before an option is the option's"
    assert mc.option_bytes == (1, 2)
    assert items["two_contexts"].gold == 0, "the chosen one of two is wrong, so the other is right"
    assert items["mutual"].option_log_likelihoods == (-5.0, -2.5)
    assert (items["lambada"].gold_log_likelihood, items["lambada"].correct, items["lambada"].chance) == (
        -6.0,
        0.0,
        None,
    )
    text = items["wikitext"]
    assert (text.gold_log_likelihood, text.correct, text.option_bytes, text.option_tokens) == (-12.0, None, (4,), None)
    made = items["gsm"]
    assert (made.gold, made.correct, made.option_log_likelihoods) == (None, 0.0, ())


def test_the_harness_itself_gives_such_samples(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness isn't installed: pip install 'trajlab[tasks]'")
    from trajlab.measures.lm_eval import HarnessTasks

    docs = [{"q": f"{i}+1=", "opts": [str(i + 1), "no"]} for i in range(4)]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, docs)))
    (tmp_path / "own.yaml").write_text(
        "task: own\noutput_type: multiple_choice\ndataset_path: json\ntest_split: test\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path}/d.jsonl}}}}\n"
        "doc_to_text: '{{q}}'\ndoc_to_choice: opts\ndoc_to_target: 0\nmetric_list: [{metric: acc}]\n"
    )
    measure, model = HarnessTasks(["own"], include=str(tmp_path)), _model()
    measure.prepare(NO_TEXT, TOKENIZER)
    [mean] = measure.rows(model).to_pylist()
    items = measure.items(model)
    assert np.mean([i.correct for i in items]) == mean["value"]
    assert [i.item for i in items] == [0, 1, 2, 3]
    assert all(i.gold == 0 and i.option_tokens == (2, 3) and math.isfinite(i.gold_log_likelihood or 0) for i in items)
