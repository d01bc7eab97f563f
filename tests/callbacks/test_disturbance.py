"""A disturbance disturbs its steps, and leaves nothing behind."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from trajlab.callbacks.disturbance import Disturbance, replace_tokens


class Recorder(L.LightningModule):
    """Notes the rate of every step; takes it from ``initial_lr`` at each, as trajlab's module does."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = nn.Embedding(11, 3)
        self.model.vocab_size = 11
        self.rates: list[float] = []
        self.batches: list[torch.Tensor] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        optimizer = self.optimizers()
        group = optimizer.param_groups[0]
        group["lr"] = group["initial_lr"] * 0.5
        self.rates.append(group["lr"])
        self.batches.append(batch.clone())
        self.manual_backward(self.model(batch).square().mean())
        optimizer.step()
        optimizer.zero_grad()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(self.parameters(), 0.2)
        optimizer.param_groups[0]["initial_lr"] = 0.2
        return optimizer


def recorded(disturbance: Disturbance) -> Recorder:
    module = Recorder()
    trainer = L.Trainer(
        max_steps=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[disturbance],
    )  # fmt: skip
    trainer.fit(module, DataLoader(torch.zeros(6, 2, 400, dtype=torch.long), batch_size=None))
    group = trainer.optimizers[0].param_groups[0]
    assert (group["lr"], group["initial_lr"]) == (0.1, 0.2)
    return module


def test_the_rate_is_raised_for_its_steps_alone():
    assert recorded(Disturbance(2, steps=3, lr_factor=10)).rates == [0.1, 0.1, 1.0, 1.0, 1.0, 0.1]


def test_the_share_of_tokens_is_replaced_for_its_steps_alone_and_alike_each_time():
    disturbance = Disturbance(4, steps=1, lr_factor=1, random_tokens=0.5)
    first, again = recorded(disturbance), recorded(disturbance)
    changed = [(b != 0).float().mean().item() for b in first.batches]
    assert changed[:4] == [0, 0, 0, 0]
    assert changed[4] == pytest.approx(0.5 * 10 / 11, abs=0.06)
    assert changed[5] == 0
    assert all(torch.equal(a, b) for a, b in zip(first.batches, again.batches, strict=True))


def test_all_tokens_can_be_replaced():
    tokens = torch.full((4, 1000), 99)
    replace_tokens(tokens, 1.0, 8, torch.Generator().manual_seed(0))
    assert set(tokens.unique().tolist()) == set(range(8))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"lr_factor": 0}, {"random_tokens": 1.5}, {"start_step": -1}])
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ValueError, match="must be at least"):
        Disturbance(**{"start_step": 1, **wrong})
