"""Token losses and the chunked head."""

import pytest
import torch
from torch.nn import functional as F

from trajlab.evaluation import nll
from trajlab.models.llama import LlamaModel


@pytest.fixture
def model() -> LlamaModel:
    torch.manual_seed(0)
    return LlamaModel(vocab_size=50, width=16, layers=1, heads=2, hidden=24, context=12)


def test_token_losses_equal_cross_entropy_whatever_the_chunk(model: LlamaModel) -> None:
    tokens_BS = torch.randint(0, 50, (3, 13))
    expected = F.cross_entropy(model(tokens_BS[:, :-1]).flatten(0, 1), tokens_BS[:, 1:].flatten(), reduction="none")
    for chunk in (1, 5, 100):
        assert torch.allclose(nll.token_losses(model, tokens_BS, chunk).flatten(), expected, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_chunked_head_has_the_gradients_of_autograd(monkeypatch: pytest.MonkeyPatch, weighted: bool) -> None:
    monkeypatch.setattr(nll, "CHUNK_TOKENS", 7)
    torch.manual_seed(1)
    hidden = torch.randn(2, 9, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 6, dtype=torch.float64, requires_grad=True)
    targets, weights = torch.randint(0, 11, (2, 9)), torch.rand(2, 9) if weighted else None
    each = F.cross_entropy((hidden @ weight.T).flatten(0, 1), targets.flatten(), reduction="none")
    share = torch.ones(18) if weights is None else weights.flatten()
    expected = (each * share).sum() / share.sum()
    actual = nll.mean_loss(hidden, weight, targets, weights)
    assert float(actual) == pytest.approx(float(expected), abs=1e-5)
    for a, b in zip(
        torch.autograd.grad(3 * actual, (hidden, weight)),
        torch.autograd.grad(3 * expected, (hidden, weight)),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-6)


def test_large_logits_stay_finite() -> None:
    hidden, weight = torch.full((1, 2, 4), 1e3), torch.eye(4) * 1e3
    assert torch.isfinite(nll.mean_loss(hidden, weight, torch.tensor([[0, 3]])))


def test_losses_of_logits_are_those_of_cross_entropy_whatever_the_shape(model: LlamaModel) -> None:
    tokens_BS = torch.randint(0, 50, (3, 13))
    logits_BTV = model(tokens_BS[:, :-1]).detach()
    expected_BT = nll.token_losses(model, tokens_BS)
    assert torch.allclose(nll.logit_losses(logits_BTV, tokens_BS[:, 1:]), expected_BT, atol=1e-6)
    assert torch.allclose(nll.logit_losses(logits_BTV[0], tokens_BS[0, 1:]), expected_BT[0], atol=1e-6)
