"""Noise replaces the share that it says, mixtures are the formula, prompts are not scored."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.series_material import byte_tokenizer, transformers_model
from trajlab.data.corpora import EmbeddedCorpus
from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.measures.sequences import (
    SequencePerplexity,
    generate_mixture,
    mixed,
    mixture_sequences,
    mixture_text,
    noised,
    nucleus,
    prompts,
    read_mixture,
)
from trajlab.models.hf import HFModel

TOKENIZER = byte_tokenizer()


def _model(seed: int) -> CheckpointModel:
    return CheckpointModel(HFModel(transformers_model("gpt_neox", seed)), TOKENIZER)


def _text(*documents: str) -> EvaluationText:
    return EvaluationText({"valid": documents}, "test", None)


def test_noise_replaces_nested_shares() -> None:
    ids = tuple(range(1, 102))
    pool = np.arange(1, 257)
    found = dict(noised(ids, [0.2, 0.4, 1.0], pool, seed=3))
    changed = {
        level: {i for i, (a, b) in enumerate(zip(ids, new, strict=True)) if a != b} for level, new in found.items()
    }
    assert {level: len(places) for level, places in changed.items()} == {0.2: 20, 0.4: 40, 1.0: 100}
    assert changed[0.2] < changed[0.4] < changed[1.0]
    assert 0 not in changed[1.0], "the first id stays"
    assert all(found[0.2][i] == found[1.0][i] for i in changed[0.2])
    assert found == dict(noised(ids, [0.2, 0.4, 1.0], pool, seed=3))
    assert found != dict(noised(ids, [0.2, 0.4, 1.0], pool, seed=4))


def test_mixtures_by_hand() -> None:
    small, large = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.1, 0.3, 0.6]])
    assert torch.allclose(mixed(small, large, 1, 0), small)
    assert torch.allclose(mixed(small, large, 0.5, 0.5), torch.tensor([[0.3, 0.3, 0.4]]))
    assert torch.allclose(mixed(small, large, 1, -1), torch.tensor([[1.0, 0.0, 0.0]]))
    assert torch.allclose(mixed(small, large, -0.5, 1), torch.tensor([[0.0, 0.15, 0.5]]) / 0.65)
    nothing_positive = mixed(small, small, -1, 0)
    assert nothing_positive.tolist() == [[0.0, 0.0, 1.0]]


def test_the_nucleus_is_the_smallest_set() -> None:
    p = torch.tensor([[0.1, 0.5, 0.15, 0.25]])
    assert torch.allclose(nucleus(p, 0.7), torch.tensor([[0.0, 2 / 3, 0.0, 1 / 3]]))
    assert torch.allclose(nucleus(p, 0.4), torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
    assert torch.allclose(nucleus(p, 1.0), p)


def test_a_pure_mixture_is_the_models_own_greedy_text() -> None:
    small, large = _model(0), _model(1)
    start = torch.tensor([[0, 40, 50], [0, 60, 61]])
    own = {}
    for name, model in (("small", small), ("large", large)):
        ids = start
        for _ in range(6):
            with torch.no_grad():
                ids = torch.cat([ids, model.hf(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
        own[name] = ids
    assert torch.equal(generate_mixture(small, large, start, 1, 0, 6), own["small"])
    assert torch.equal(generate_mixture(small, large, start, 0, 1, 6), own["large"])
    assert not torch.equal(own["small"], own["large"])


def test_sampling_is_repeatable_and_files_round_trip(tmp_path: Path) -> None:
    start = prompts(["The cat sat on the mat.", "A dog."], TOKENIZER, 2)
    drawn = [mixture_sequences(_model(0), _model(1), start, [[1, -1], [0.5, 0.5]], 8) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert {(s.level, s.level_large, s.decoding) for s in drawn[0]} == {
        (a, b, d) for a, b in ((1, -1), (0.5, 0.5)) for d in ("greedy", "nucleus")
    }
    (tmp_path / "m.jsonl").write_text(mixture_text(drawn[0], TOKENIZER))
    assert list(read_mixture(tmp_path / "m.jsonl", TOKENIZER)) == drawn[0]
    with pytest.raises(UserError, match="no such file; make it with task=mixture"):
        list(read_mixture(tmp_path / "absent", TOKENIZER))


def test_rows_are_sums_of_a_plain_forward(tmp_path: Path) -> None:
    model = _model(0)
    start = prompts(["The cat sat on the mat.", "A dog ran."], TOKENIZER, 2)
    drawn = mixture_sequences(_model(0), _model(1), start, [[1, 0]], 8)
    (tmp_path / "m.jsonl").write_text(mixture_text(drawn, TOKENIZER))
    measure = SequencePerplexity(levels=[0.5], mixture=str(tmp_path / "m.jsonl"), batch=3)
    measure.prepare(_text("The cat sat on the mat.", "A dog ran.", "x"), TOKENIZER)
    rows = measure.rows(model).to_pylist()
    assert [r["kind"] for r in rows] == ["correct"] * 3 + ["random"] * 3 + ["mixture"] * 4

    def nll(ids: tuple[int, ...], given: int) -> float:
        tokens = torch.tensor([ids])
        with torch.no_grad():
            losses = F.cross_entropy(model.hf(tokens).logits[0, :-1], tokens[0, 1:], reduction="none")
        return float(losses[given - 1 :].double().sum())

    correct = (0, *TOKENIZER("The cat sat on the mat.", add_special_tokens=False)["input_ids"])
    assert rows[0]["nll_sum"] == pytest.approx(nll(correct, 1), abs=1e-3)
    assert rows[0]["token_count"] == len("The cat sat on the mat.")
    for row, s in zip(rows[6:], drawn, strict=True):
        assert row["token_count"] == 8
        assert row["nll_sum"] == pytest.approx(nll(s.ids, 5), abs=1e-3)


def test_contradictions_come_from_the_corpus() -> None:
    corpus = EmbeddedCorpus()
    documents = tuple(corpus.grammar.stories("valid", 6))
    text = EvaluationText({"valid": documents}, corpus.name, None, {"valid": corpus})
    measure = SequencePerplexity(levels=[], length=100_000)
    measure.prepare(text, TOKENIZER)
    by_kind = {(s.kind, s.sequence): s.ids for s in measure._sequences}
    pairs = [n for kind, n in by_kind if kind == "contradicted"]
    assert len(pairs) >= 5
    assert all(by_kind["contradicted", n] != by_kind["correct", n] for n in pairs)
    short = SequencePerplexity(levels=[], length=3)
    short.prepare(text, TOKENIZER)
    assert {s.kind for s in short._sequences} == {"correct"}, "a contradiction beyond the cut is none"
