"""A published checkpoint is a LightningModule that a Trainer can use."""

import lightning as L
import torch
from torch.utils.data import DataLoader

from tests.series_material import byte_tokenizer, transformers_model
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.evaluation.nll import token_losses
from trajlab.models.hf import HFModel


def test_a_trainer_predicts_the_losses_that_the_engine_scores() -> None:
    checkpoint = CheckpointModel(HFModel(transformers_model("opt")), byte_tokenizer())
    tokens_NS = torch.randint(1, 257, (5, 17), generator=torch.Generator().manual_seed(0))
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    predicted = trainer.predict(checkpoint, DataLoader(tokens_NS, batch_size=2))
    assert predicted is not None
    losses_NT = torch.cat(predicted)
    assert losses_NT.shape == (5, 16)
    torch.testing.assert_close(losses_NT, token_losses(checkpoint.lm, tokens_NS), atol=1e-5, rtol=0)
