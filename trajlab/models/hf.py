"""Any causal language model of transformers behind the `CausalLM` protocol.

`HFModel` wraps one, `from_config` builds one with fresh weights (``model=pythia_tiny``, ``opt_tiny``), `save_folder`
writes the folder that ``AutoModelForCausalLM.from_pretrained`` opens. Most of them end in a plain linear head, so that
the head can be chunked; one with a bias, a softcap or a scale there, or spread over several devices, is scored from
its own logits instead. Shapes: B windows, T positions, D width, V vocabulary.
"""

from pathlib import Path
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

BENDING_KEYS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""Keys of a transformers config that change logits after the head's matrix."""

CONSTRUCTION = RLock()
"""Held while a model of transformers is constructed or opened: ``from_pretrained`` switches weight tying and
initialisation off for the whole process meanwhile, and a model that another thread constructs then gets two heads."""


class HFModel(nn.Module):
    """A ``transformers`` causal LM: token ids in, logits out.

    ``linear_head`` says whether the logits are exactly ``hidden @ head_weight.T``; it is found out by trying.
    """

    def __init__(self, hf: PreTrainedModel) -> None:
        super().__init__()
        self.hf = hf
        self.vocab_size: int = hf.get_input_embeddings().weight.shape[0]  # type: ignore[union-attr, index, assignment]
        self.linear_head = _has_linear_head(hf)

    @property
    def longest(self) -> int | None:
        """Positions that the model can take, where its configuration says so."""
        return getattr(self.hf.config.get_text_config(), "max_position_embeddings", None)

    @property
    def head_weight(self) -> Tensor:
        """The (V, D) output matrix. Raises ValueError where the logits need more than it."""
        if not self.linear_head:
            raise ValueError(f"{type(self.hf).__name__} has no plain linear head: it can be evaluated, but not trained")
        return self.hf.get_output_embeddings().weight  # type: ignore[union-attr, return-value]

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """What the head is given, (B, T, D)."""
        return _body(self.hf)(input_ids=tokens_BT, use_cache=False).last_hidden_state

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        return self.hf(input_ids=tokens_BT, use_cache=False).logits


def from_config(architecture: str, name: str | None = None, **shape: object) -> HFModel:
    """A model with fresh weights, drawn from the global generator: ``architecture`` as transformers names it.

    ``name`` is what the model is called in tables; ``shape`` are keys of the architecture's configuration. Raises
    ValueError for an architecture that transformers doesn't know or whose head isn't plain, and for a width that
    doesn't divide into the heads.
    """
    model = HFModel(_fresh(AutoConfig.for_model(architecture, **shape)))
    _ = model.head_weight
    return model


def from_config_dict(config: dict[str, Any]) -> HFModel:
    """The model of an older snapshot, which holds the configuration of transformers under ``transformers``."""
    return HFModel(_fresh(AutoConfig.for_model(**config["transformers"])))


def save_folder(model: HFModel, folder: Path | str) -> None:
    """Write configuration and safetensors as transformers does."""
    disable_progress_bar()
    model.hf.save_pretrained(folder)


def _fresh(config: PretrainedConfig) -> PreTrainedModel:
    with CONSTRUCTION:
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _body(hf: PreTrainedModel) -> nn.Module:
    """The model without its head."""
    return getattr(hf, hf.base_model_prefix)


@torch.no_grad()
def _has_linear_head(hf: PreTrainedModel) -> bool:
    """Whether the head's matrix alone makes the same logits, to the bit, as the model does."""
    head = hf.get_output_embeddings()
    config = hf.config.get_text_config()
    if len(set(getattr(hf, "hf_device_map", {}).values())) > 1 or not hasattr(hf, hf.base_model_prefix):
        return False
    if not isinstance(head, nn.Linear) or head.bias is not None:
        return False
    if any(getattr(config, key, None) not in (None, 1, 1.0) for key in BENDING_KEYS):
        return False
    training = hf.training
    tokens_BT = torch.arange(min(8, head.out_features), device=head.weight.device)[None]
    hf.eval()
    hidden_BTD = _body(hf)(input_ids=tokens_BT, use_cache=False).last_hidden_state
    expected = hf(input_ids=tokens_BT, use_cache=False).logits
    hf.train(training)
    if hidden_BTD.shape[-1] != head.in_features:
        return False
    return torch.equal(F.linear(hidden_BTD, head.weight).float(), expected.float())
