"""Losses of any causal LM equal those of a plain transformers forward on the same windows."""

import json

import pytest
import torch
from torch.nn import functional as F

from tests.series_material import SHAPES, VOCABULARY, transformers_model
from trajlab.evaluation.nll import token_losses
from trajlab.models.hf import HFModel, from_config, from_config_dict


@pytest.fixture(scope="module")
def windows_BS() -> torch.Tensor:
    return torch.randint(VOCABULARY, (5, 33), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", SHAPES)
def test_losses_equal_a_plain_forward(name: str, windows_BS: torch.Tensor) -> None:
    plain = transformers_model(name)
    with torch.no_grad():
        logits_BSV = plain(windows_BS).logits
    expected_BT = F.cross_entropy(logits_BSV[:, :-1].transpose(1, 2), windows_BS[:, 1:], reduction="none")
    model = HFModel(plain)
    assert expected_BT.std() > 0.1
    torch.testing.assert_close(token_losses(model, windows_BS), expected_BT, atol=1e-5, rtol=0)
    torch.testing.assert_close(token_losses(model, windows_BS, chunk=7), expected_BT, atol=1e-5, rtol=0)
    assert model.linear_head == (name != "gemma2")


def test_a_bent_head_is_not_trained() -> None:
    model = HFModel(transformers_model("gemma2"))
    with pytest.raises(ValueError, match="no plain linear head"):
        _ = model.head_weight


def test_a_head_bias_counts() -> None:
    plain = transformers_model("gpt_neox")
    head = torch.nn.Linear(32, VOCABULARY)
    plain.set_output_embeddings(head)
    model = HFModel(plain)
    assert not model.linear_head
    tokens = torch.arange(12)[None]
    expected = F.cross_entropy(plain(tokens).logits[0, :-1], tokens[0, 1:], reduction="none")
    torch.testing.assert_close(token_losses(model, tokens)[0], expected)


def test_a_described_shape_is_built_again() -> None:
    torch.manual_seed(0)
    model = from_config("opt", vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=32)
    again = from_config_dict({"transformers": json.loads(model.hf.config.to_json_string(use_diff=True))})
    assert [(n, p.shape) for n, p in again.named_parameters()] == [(n, p.shape) for n, p in model.named_parameters()]
    again.load_state_dict(model.state_dict())
    tokens = torch.arange(10)[None]
    model.eval(), again.eval()
    assert torch.equal(model(tokens), again(tokens))


def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(ValueError, match="nonesuch"):
        from_config("nonesuch")


def test_the_oldest_transformers_allowed_knows_dtype() -> None:
    """``from_pretrained(dtype=…)`` came with 4.56; older ones take torch_dtype, and ignore dtype without a word."""
    import tomllib

    from packaging.requirements import Requirement

    from tests.conftest import ROOT

    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [transformers] = [r for r in map(Requirement, needed) if r.name == "transformers"]
    assert not transformers.specifier.contains("4.55.4")
    assert transformers.specifier.contains("4.56.0")
