"""Exports while another thread opens a model: transformers switches weight tying off for the whole process meanwhile."""

from pathlib import Path
from threading import Event, Thread
from typing import Any

from safetensors import safe_open
from transformers.initialization import no_tie_weights

from trajlab.checkpoints.convert import export_hf
from trajlab.evaluation import checkpoint_model
from trajlab.models.hf import from_config
from trajlab.models.llama import LlamaModel


class _SlowModel:
    """Stands for AutoModelForCausalLM, in the middle of `from_pretrained` until ``exported`` or a moment has passed."""

    opening, exported = Event(), Event()

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> None:
        with no_tie_weights():
            cls.opening.set()
            cls.exported.wait(0.5)


def _tensors(file: Path) -> set[str]:
    with safe_open(file, "pt") as f:  # type: ignore[no-untyped-call]
        return set(f.keys())


def test_a_tied_model_keeps_one_head_whatever_another_thread_opens(tmp_path: Path) -> None:
    model = LlamaModel(vocab_size=20, width=8, layers=1, heads=2, hidden=8, context=4, tie_embeddings=True)
    export_hf(model, tmp_path / "alone")
    opens = Thread(target=checkpoint_model._from_pretrained, args=(_SlowModel, "folder"))
    opens.start()
    assert _SlowModel.opening.wait(10)
    export_hf(model, tmp_path / "meanwhile")
    fresh = from_config("opt", vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, ffn_dim=8,
                        max_position_embeddings=8, pad_token_id=None)  # fmt: skip
    _SlowModel.exported.set()
    opens.join()
    alone, meanwhile = (_tensors(tmp_path / f / "model.safetensors") for f in ("alone", "meanwhile"))
    assert meanwhile == alone
    assert "lm_head.weight" not in meanwhile
    assert fresh.head_weight is fresh.hf.get_input_embeddings().weight
