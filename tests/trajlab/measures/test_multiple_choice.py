"""Options are scored as a plain forward over the whole prompt scores them, prefix shared or not."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.series_material import byte_tokenizer, transformers_model
from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.measures.lm_eval import HarnessTasks, harness_rows
from trajlab.measures.multiple_choice import Example, MultipleChoice, Task, option_likelihoods, split_shots
from trajlab.models.hf import HFModel

TOKENIZER = byte_tokenizer()
NO_TEXT = EvaluationText({}, "none", None)


def _model(name: str = "opt") -> CheckpointModel:
    plain = transformers_model(name)
    return CheckpointModel(HFModel(plain), TOKENIZER)


def _task(n: int = 5) -> Task:
    examples = tuple(Example(f"{i}+1?", (f"{i + 1}", "no", "many"), (1.0, 0.0, 0.0)) for i in range(n))
    return Task("sums", examples, input_prefix="Q", output_prefix="A ", append_choices=False)


def _by_hand(model: CheckpointModel, prompt: str, option: str) -> tuple[float, int]:
    alone = TOKENIZER(prompt, add_special_tokens=False)["input_ids"]
    whole = torch.tensor([[0, *TOKENIZER(prompt + option, add_special_tokens=False)["input_ids"]]])
    with torch.no_grad():
        logp = model.hf(whole).logits[0].double().log_softmax(-1)
    places = range(len(alone), whole.shape[1] - 1)
    return float(sum(logp[i, whole[0, i + 1]] for i in places)), len(places)


@pytest.mark.parametrize("name", ["opt", "gpt_neox", "llama_grouped_tied"])
@pytest.mark.parametrize("batch", [1, 4])
def test_likelihoods_equal_a_plain_forward(name: str, batch: int) -> None:
    model, task = _model(name), _task()
    shots, asked = split_shots(task, 2, seed=0, limit=None)
    assert len(asked) == 3
    assert not set(shots) & set(asked)
    found = option_likelihoods(model, task, shots, asked, batch)
    for example, (sums, counts) in zip(asked, found, strict=True):
        for option, total, count in zip(example.options, sums, counts, strict=True):
            expected, tokens = _by_hand(model, task.context(shots) + task.question(example), option)
            assert count == tokens == len(option)
            assert total == pytest.approx(expected, abs=1e-4)


TINY: dict[str, dict[str, Any]] = {
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "rwkv": {"hidden_size": 16, "num_hidden_layers": 2, "context_length": 64},
    "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 64},
    "recurrent_gemma": {
        "hidden_size": 16, "num_hidden_layers": 3, "intermediate_size": 32, "num_attention_heads": 2, "lru_width": 16,
        "attention_window_size": 64, "pad_token_id": None,
    },
    "mamba2": {
        "hidden_size": 16, "num_hidden_layers": 2, "state_size": 8, "num_heads": 4, "head_dim": 8, "n_groups": 1,
        "chunk_size": 8, "expand": 2,
    },
    "falcon_mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "jamba": {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "intermediate_size": 32, "mamba_d_state": 4, "mamba_dt_rank": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
        "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 2, "use_mamba_kernels": False,
        "pad_token_id": None,
    },
}  # fmt: skip
"""Architectures without keys and values that can be repeated: a state, both, or a cache of their own make."""


@pytest.mark.parametrize("name", TINY)
def test_models_without_a_repeatable_cache_are_scored_over_whole_rows(name: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, vocab_size=257, bos_token_id=0, eos_token_id=0, **TINY[name])
    model = CheckpointModel(HFModel(AutoModelForCausalLM.from_config(config).eval()), TOKENIZER)
    task = _task()
    shots, asked = split_shots(task, 2, seed=0, limit=None)
    for example, (sums, _) in zip(asked, option_likelihoods(model, task, shots, asked, 2), strict=True):
        for option, total in zip(example.options, sums, strict=True):
            expected, _tokens = _by_hand(model, task.context(shots) + task.question(example), option)
            assert total == pytest.approx(expected, abs=1e-5)


def test_an_entry_that_no_text_uses_does_no_harm() -> None:
    larger = byte_tokenizer()
    larger.add_tokens(["zebra"])
    model = CheckpointModel(HFModel(transformers_model()), larger)
    assert model.document_loss("abc").token_count == 3
    with pytest.raises(UserError, match="makes ids up to 257 of this text"):
        model.document_loss("a zebra")


def test_the_shared_prefix_goes_through_the_model_once() -> None:
    model, task = _model(), _task()
    passes = []
    model.hf.register_forward_pre_hook(
        lambda module, args, kwargs: passes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    shots, asked = split_shots(task, 2, seed=0, limit=None)
    option_likelihoods(model, task, shots, asked, batch=100)
    shared, *_trial, suffixes = passes
    assert len(passes) == 4, "the prefix, the cache tried on one row and on the whole of it, all rows"
    assert shared[0] == 1
    assert shared[1] >= len(task.context(shots))
    assert suffixes[0] == 9
    assert suffixes[1] < 12


def test_a_prompt_too_long_loses_shots_then_its_beginning() -> None:
    model = _model()
    assert model.lm.longest == 64
    long = Task("long", tuple(Example("x" * 30 + str(i), ("yes", "no"), (1.0, 0.0)) for i in range(4)))
    shots, asked = split_shots(long, 2, 0, None)
    for (sums, _), example in zip(option_likelihoods(model, long, shots, asked), asked, strict=True):
        ids = [0, *TOKENIZER(long.task_prefix + long.question(example) + "yes", add_special_tokens=False)["input_ids"]]
        assert len(ids) > 64
        last = torch.tensor([ids[-64:]])
        with torch.no_grad():
            logp = model.hf(last).logits[0].double().log_softmax(-1)
        assert sums[0] == pytest.approx(float(sum(logp[i, last[0, i + 1]] for i in range(60, 63))), abs=1e-4)


def _write(path: Path, **spec: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec))
    return path


def test_grades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [{"input": f"q{i}", "target_scores": {"a": 1, "bbbb": 0}} for i in range(4)]
    path = _write(tmp_path / "t" / "task.json", name="t", examples=examples)
    answers = [(np.array([-1.0, -2.0]), np.array([1, 4])), (np.array([-1.0, -8.0]), np.array([1, 4]))]
    monkeypatch.setattr("trajlab.measures.multiple_choice.option_likelihoods", lambda *a: answers)
    measure = MultipleChoice([str(path)], shots=2)
    measure.prepare(NO_TEXT, TOKENIZER)
    rows = {r["metric"]: r for r in measure.rows(_model()).to_pylist()}
    assert rows["multiple_choice_grade"]["value"] == 0.5, "the longer option wins a token, once"
    assert rows["unnormalised_grade"]["value"] == 1.0
    assert rows["correct_log_likelihood"]["value"] == -1.0
    assert rows["multiple_choice_grade"]["stderr"] == pytest.approx(np.std([0, 1], ddof=1) / 2**0.5)
    assert (rows["multiple_choice_grade"]["n"], rows["multiple_choice_grade"]["shots"]) == (2, 2)


def test_task_files(tmp_path: Path) -> None:
    examples = [{"input": "x", "target_scores": {"a": 0, "b": 1}}] * 3
    _write(tmp_path / "top" / "task.json", name="top")
    _write(tmp_path / "top" / "sub" / "task.json", name="sub", examples=examples, example_input_prefix="I:")
    measure = MultipleChoice([f"{tmp_path}/**/task.json"], shots=1)
    measure.prepare(NO_TEXT, TOKENIZER)
    [task] = measure._tasks
    assert task.name == "top:sub", "heads without examples are left out, subtasks carry their task's name"
    assert task.shot(task.examples[0]) == "I:x\n  choice: a\n  choice: b\nA: b"
    broken = _write(tmp_path / "broken" / "task.json", examples=[{"input": "x", "target": "y"}])
    for tasks, said in (
        ([str(tmp_path / "nothing*")], "no file fits"),
        ([str(broken)], "no BIG-bench task of multiple choice"),
        ([str(tmp_path / "top/sub/task.json")], "too few for benchmark.shots=3"),
    ):
        with pytest.raises(UserError, match=said):
            MultipleChoice(tasks, shots=3).prepare(NO_TEXT, TOKENIZER)


def test_real_tasks_are_read(shared_data: Path) -> None:
    measure = MultipleChoice([f"{shared_data}/bigbench/**/task.json"], shots=2)
    measure.prepare(NO_TEXT, TOKENIZER)
    names = [t.name for t in measure._tasks]
    assert len(names) == len(set(names)) > 90
    assert all(max(e.scores) > 0 for t in measure._tasks for e in t.examples)


RESULTS = {
    "results": {
        "piqa": {"alias": "piqa", "acc,none": 0.6, "acc_stderr,none": 0.01, "acc_norm,none": 0.61,
                 "acc_norm_stderr,none": "N/A"},
        "lambada_openai": {"alias": "l", "perplexity,none": 12.5, "perplexity_stderr,none": 0.4},
        "gsm": {"alias": "g", "exact_match,strict-match": 0.1},
    },
    "n-samples": {"piqa": {"original": 1838, "effective": 100}},
    "n-shot": {"piqa": 5},
}  # fmt: skip


def test_the_harness_results_become_rows() -> None:
    rows = {(r["task"], r["metric"]): r for r in harness_rows(RESULTS)}
    assert set(rows) == {
        ("piqa", "acc"), ("piqa", "acc_norm"), ("lambada_openai", "perplexity"), ("gsm", "exact_match,strict-match")
    }  # fmt: skip
    assert rows["piqa", "acc"] == {
        "task": "piqa", "metric": "acc", "value": 0.6, "stderr": 0.01, "n": 100, "shots": 5
    }  # fmt: skip
    assert rows["piqa", "acc_norm"]["stderr"] is None
    assert rows["lambada_openai", "perplexity"]["value"] == 12.5


def test_the_harness_is_asked_through_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def simple_evaluate(**options: Any) -> dict[str, Any]:
        asked.update(options)
        return RESULTS

    wrapper = SimpleNamespace(HFLM=lambda **options: options)
    known = SimpleNamespace(match_tasks=lambda names: [n for n in names if n == "piqa"])
    tasks = SimpleNamespace(TaskManager=lambda include_path: asked.update(include=include_path) or known)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", tasks)
    monkeypatch.setitem(sys.modules, "lm_eval", SimpleNamespace(simple_evaluate=simple_evaluate))
    monkeypatch.setitem(sys.modules, "lm_eval.models.huggingface", wrapper)
    measure, model = HarnessTasks(["piqa"], shots=5, limit=10), _model()
    measure.prepare(NO_TEXT, TOKENIZER)
    assert measure.rows(model).num_rows == 4
    assert (asked["tasks"], asked["num_fewshot"], asked["limit"]) == (["piqa"], 5, 10)
    assert asked["model"]["pretrained"] is model.hf
    assert asked["task_manager"] is known
    with pytest.raises(UserError, match="no task 'piqua'"):
        HarnessTasks(["piqua"], include="mine").prepare(NO_TEXT, TOKENIZER)
    assert asked["include"] == "mine"
    own_shots = HarnessTasks(["piqa"])
    own_shots.prepare(NO_TEXT, TOKENIZER)
    own_shots.rows(model)
    assert asked["num_fewshot"] is None, "a task's own number stays"


def test_a_rolling_perplexity_has_no_shots() -> None:
    results = {
        "results": {"wikitext": {"word_perplexity,none": 20.0}}, "n-shot": {"wikitext": 2},
        "configs": {"wikitext": {"output_type": "loglikelihood_rolling"}},
    }  # fmt: skip
    assert [r["shots"] for r in harness_rows(results)] == [0]


def test_without_the_harness_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UserError, match=r"pip install 'trajlab\[tasks\]'"):
        HarnessTasks(["piqa"]).prepare(NO_TEXT, TOKENIZER)
