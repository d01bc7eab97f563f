"""A published checkpoint is a LightningModule that a Trainer can use."""

from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tests.series_material import byte_tokenizer, transformers_model, write_checkpoint
from trajlab.checkpoints.weights import read_weights, write_weights
from trajlab.errors import UserError
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


def _changed(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """The folder with its weights changed in place."""
    weights = {name: tensor.clone() for name, tensor in read_weights(folder).items()}
    change(weights)
    write_weights(folder / "model.safetensors", weights, {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("gpt_neox", "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"),
        ("gpt_neox", "embed_out.weight"),  # renamed lm_head.weight when it is loaded
        ("llama_grouped_tied", "model.embed_tokens.weight"),
        ("opt", "model.decoder.layers.0.fc1.bias"),
    ],
)
def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path, name: str, absent: str) -> None:
    folder = _changed(write_checkpoint(tmp_path, name), lambda w: w.pop(absent))
    with pytest.raises(UserError, match=f"lack .*({absent}|lm_head.weight).* drawn at random"):
        CheckpointModel.open(folder)


def test_a_tensor_of_another_shape_is_refused(tmp_path: Path) -> None:
    head = "embed_out.weight"
    folder = _changed(write_checkpoint(tmp_path), lambda w: w.update({head: w[head][:, :4].contiguous()}))
    with pytest.raises(UserError, match="no model can be opened|lack"):
        CheckpointModel.open(folder)


def test_a_tied_head_is_no_gap(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "llama_grouped_tied")
    assert "lm_head.weight" not in read_weights(folder)
    assert CheckpointModel.open(folder).lm.linear_head


def test_tensors_without_a_place_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = _changed(write_checkpoint(tmp_path), lambda w: w.update({"gpt_neox.layers.7.x": torch.ones(2)}))
    CheckpointModel.open(folder)
    assert "no place for 1 tensors (gpt_neox.layers.7.x" in capfd.readouterr().err
