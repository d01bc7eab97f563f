"""The model: its size, causality, exchange with transformers."""

from pathlib import Path

import pytest
import torch

from trajlab.checkpoints.convert import export_hf, import_hf
from trajlab.models.llama import LlamaModel
from trajlab.models.llama_shape import LlamaConfig, parameter_count

SMALL = {"vocab_size": 64, "width": 32, "layers": 2, "heads": 4, "hidden": 48, "context": 24}
VARIANTS = [
    {},
    {"kv_heads": 2},
    {"tie_embeddings": False},
    {"kv_heads": 1, "tie_embeddings": False, "rope_theta": 500.0},
]


def test_the_budget_model_has_exactly_its_published_size() -> None:
    assert parameter_count(LlamaConfig()) == 4_262_144


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_count_is_that_of_the_tensors(variant: dict) -> None:
    model = LlamaModel(**SMALL, **variant)
    assert sum(p.numel() for p in model.parameters()) == parameter_count(model.config)


def test_no_position_sees_a_later_one() -> None:
    model = LlamaModel(**SMALL)
    tokens = torch.randint(0, 64, (1, 24))
    before = model(tokens)
    for changed in (5, 17, 23):
        other = tokens.clone()
        other[0, changed] = (other[0, changed] + 1) % 64
        after = model(other)
        assert torch.equal(before[:, :changed], after[:, :changed])
        assert not torch.allclose(before[:, changed:], after[:, changed:])


def test_the_initial_loss_is_near_that_of_a_uniform_guess() -> None:
    torch.manual_seed(0)
    model = LlamaModel()
    tokens = torch.randint(0, 4096, (2, 65))
    loss = torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    assert 8.30 < loss.item() < 8.45


@pytest.mark.parametrize("variant", VARIANTS)
def test_transformers_opens_an_export_with_the_same_logits(variant: dict, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = LlamaModel(**SMALL, **variant).eval()
    export_hf(model, tmp_path)
    tokens = torch.randint(0, 64, (2, 24))
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path)(tokens).logits
        assert (model(tokens) - theirs).abs().max() < 1e-4
        assert torch.equal(import_hf(tmp_path)(tokens), model(tokens))


def test_another_architecture_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "opt"}')
    with pytest.raises(ValueError, match="'opt'"):
        import_hf(tmp_path)


@pytest.mark.parametrize("wrong", [{"heads": 3}, {"kv_heads": 3}, {"layers": 0}, {"dropout": 1.0}])
def test_shapes_that_do_not_go_together_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LlamaModel(**{**SMALL, **wrong})


def test_a_longer_context_than_the_trained_one_is_scored() -> None:
    model = LlamaModel(**SMALL)
    assert torch.allclose(
        model(torch.ones(1, 40, dtype=torch.long))[:, :24], model(torch.ones(1, 24, dtype=torch.long)), atol=1e-5
    )
