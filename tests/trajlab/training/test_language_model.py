"""Clipping under a gradient scaler (16-mixed): the limit is meant for the gradients, not for their multiples."""

import pytest
import torch
from torch import nn

from trajlab.models.llama import LlamaModel
from trajlab.training.language_model import LanguageModel
from trajlab.training.schedules import Constant

TOKENS_BS = torch.arange(20).reshape(2, 10)


def _module(clip: float | None) -> LanguageModel:
    torch.manual_seed(0)
    model = LlamaModel(vocab_size=20, width=8, layers=1, heads=2, hidden=8, context=9)
    return LanguageModel(model, torch.optim.SGD, Constant(100), 18, gradient_clip=clip)


def _loss(module: LanguageModel) -> torch.Tensor:
    logits_BTV = module(TOKENS_BS[:, :-1])
    return nn.functional.cross_entropy(logits_BTV.flatten(0, 1), TOKENS_BS[:, 1:].flatten())


def _norm(module: LanguageModel) -> float:
    return float(torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm())


@pytest.mark.parametrize("clip", [0.1, None])
def test_scaled_gradients_are_clipped_at_the_limit_that_is_meant(
    clip: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, scaled = _module(clip), _module(clip)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    monkeypatch.setattr(plain, "_scaler", lambda: None)
    monkeypatch.setattr(scaled, "_scaler", lambda: scaler)
    _loss(plain).backward()
    scaler.scale(_loss(scaled)).backward()
    assert scaled._clipped_norm() == pytest.approx(plain._clipped_norm(), rel=1e-5)
    scaler.unscale_(torch.optim.SGD(scaled.parameters(), lr=1.0))
    assert _norm(scaled) == pytest.approx(_norm(plain), rel=1e-5)
    assert clip is None or _norm(scaled) == pytest.approx(clip, rel=1e-4)
