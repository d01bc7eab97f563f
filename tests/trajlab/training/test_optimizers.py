"""Muon beside AdamW: who takes which parameter, one rate for both, and a resumed run that goes on to the bit."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.conftest import MICRO, run_here
from trajlab.models.llama import LlamaModel
from trajlab.training.language_model import decay_groups
from trajlab.training.optimizers import MuonWithAdamW


def made(seed: int = 0) -> tuple[LlamaModel, MuonWithAdamW]:
    torch.manual_seed(seed)
    model = LlamaModel(vocab_size=40, width=16, layers=1, heads=2, hidden=32, context=8, tie_embeddings=False)
    return model, MuonWithAdamW(decay_groups(model), lr=1e-2)


def steps(model: LlamaModel, optimizer: MuonWithAdamW, count: int, rate: float = 1e-2) -> None:
    for i in range(count):
        for group in optimizer.param_groups:
            group["lr"] = rate
        tokens_BT = (torch.arange(16).reshape(2, 8) * (i + 3)) % 40
        model(tokens_BT).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_matrices_of_the_blocks_go_to_muon_and_nothing_else() -> None:
    model, optimizer = made()
    muon, adamw = ([p for g in part.param_groups for p in g["params"]] for part in optimizer._parts)
    assert all(p.ndim == 2 and 40 not in p.shape for p in muon)
    assert {id(p) for p in [*muon, *adamw]} == {id(p) for p in model.parameters()}
    assert sum(40 in p.shape for p in adamw) == 2, "the embedding and the untied head"


def test_a_rate_of_zero_moves_nothing() -> None:
    model, optimizer = made()
    before = [p.clone() for p in model.parameters()]
    steps(model, optimizer, 2, rate=0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_it_goes_on_from_its_state() -> None:
    model, optimizer = made()
    steps(model, optimizer, 2)
    again, fresh = made(seed=1)
    again.load_state_dict(model.state_dict())
    fresh.load_state_dict(deepcopy(optimizer.state_dict()))
    for m, o in ((model, optimizer), (again, fresh)):
        steps(m, o, 3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_a_run_learns_and_is_repeated_to_the_bit(optimizer: str, tmp_path: Path) -> None:
    def weights(name: str) -> dict[str, Tensor]:
        run_here(
            *[o for o in MICRO if not o.startswith("optimizer.")],
            f"optimizer={optimizer}",
            f"runs_dir={tmp_path / name}",
        )
        checkpoint = tmp_path / name / "tinystories_budget_small" / "seed=0" / "checkpoints" / "last.ckpt"
        return torch.load(checkpoint, weights_only=False)["state_dict"]

    first, second = weights("a"), weights("b")
    assert all(torch.equal(first[k], second[k]) for k in first)
