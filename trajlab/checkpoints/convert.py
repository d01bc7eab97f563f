"""Models as folders: what transformers opens, and what `CheckpointModel` opens of a user's own model.

`write_folder` turns a snapshot into one, tokenizer included. `export_hf` and `import_hf` exchange a `LlamaModel`'s
weights with ``transformers.LlamaForCausalLM``, whose rotary convention (halves, not pairs) the model uses too.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from trajlab.checkpoints.snapshots import description, load_snapshot, load_tied
from trajlab.checkpoints.weights import read_weights, write_weights
from trajlab.config.parse import parse
from trajlab.config.schema import PrepareConfig
from trajlab.data import tokenizer as tokenizers
from trajlab.data.prepare import prepare as prepare_data
from trajlab.errors import UserError
from trajlab.files import publish_json
from trajlab.models.hf import CONSTRUCTION, HFModel, save_folder
from trajlab.models.llama import LlamaModel
from trajlab.models.rebuild import OWN, rebuild
from trajlab.store.layout import MANIFEST
from trajlab.store.manifest import stored_config
from trajlab.store.run_store import RunStore

WEIGHTS = "model.safetensors"
MODEL_TYPE = "trajlab"
"""The ``model_type`` in the config.json of a model that only trajlab can build."""


def write_folder(snapshot: Path, to: Path, encoder: Tokenizer) -> bool:
    """A snapshot's model and the tokenizer as a folder; whether transformers opens it.

    A model of a user's own class is not built for that: its folder holds the weights and the name of the class, and
    `open_folder` opens it. Raises UserError where the model has fewer entries than the tokenizer.
    """
    end = tokenizers.end_of_text_id(encoder)
    known = description(snapshot)["class"] in OWN
    if known:
        _write_known(snapshot, to, encoder, end)
    else:
        to.mkdir(parents=True, exist_ok=True)
        publish_json(to / "config.json", {"model_type": MODEL_TYPE, **description(snapshot)})
        write_weights(to / WEIGHTS, read_weights(snapshot), {"format": "pt"})
    text = encoder.id_to_token(end)
    PreTrainedTokenizerFast(tokenizer_object=encoder, eos_token=text, bos_token=text).save_pretrained(to)
    _name_for_all_versions(to)
    return known


def _name_for_all_versions(folder: Path) -> None:
    """Give the tokenizer the class name that transformers 4 knows too, and the model's context as its longest text."""
    file = folder / "tokenizer_config.json"
    config = json.loads((folder / "config.json").read_text())
    longest = config.get("max_position_embeddings")
    spec = {**json.loads(file.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}
    publish_json(file, {**spec, **({"model_max_length": longest} if longest else {})})


def _write_known(snapshot: Path, to: Path, encoder: Tokenizer, end: int) -> None:
    model = load_snapshot(snapshot)
    assert isinstance(model, LlamaModel | HFModel)
    if encoder.get_vocab_size() > model.vocab_size:
        raise UserError(
            f"snapshot={snapshot} has {model.vocab_size:,} entries, the tokenizer {encoder.get_vocab_size():,}; "
            "name the experiment that the snapshot comes from (experiment=…)"
        )
    if isinstance(model, HFModel):
        save_folder(model, to)
    else:
        export_hf(model, to, end)


def open_folder(folder: Path, named: str | None) -> nn.Module | None:
    """The model of a folder that `write_folder` wrote for a user's own class; None for a folder of transformers.

    ``named`` is the class that may be built. Raises UserError where the folder names another one.
    """
    file = folder / "config.json"
    try:
        config: Mapping[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    except (ValueError, RecursionError) as e:
        raise UserError(f"{file} can't be read ({e}); write it again") from e
    if config.get("model_type") != MODEL_TYPE:
        return None
    if not isinstance(config.get("class"), str) or not isinstance(config.get("arguments"), dict):
        raise UserError(f"{file} doesn't say how to build its model (class and arguments); write it again")
    model = rebuild(config, named, str(folder))
    load_tied(model, read_weights(folder), str(folder))
    return model


def run_tokenizer(run: Path, corpora: Iterable[str | None] = ()) -> Tokenizer:
    """The tokenizer that a stored run was trained with, made or found again.

    ``corpora`` are classes beside trajlab's own that may be built to read the run's text. Raises UserError where the run
    names another one.
    """
    manifest = RunStore.open(run).manifest() or {}
    data = parse(stored_config(manifest, corpora, f"{run}/{MANIFEST}"), PrepareConfig)
    return prepare_data(data.data, data.tokenizer, data.intervals.budget_tokens).tokenizer


# ---- Llama


def export_hf(model: LlamaModel, folder: Path | str, special_token: int = 0) -> None:
    """Write the model as a folder that ``transformers.AutoModelForCausalLM.from_pretrained`` opens.

    ``special_token`` is the id that begins and ends a text.
    """
    c = model.config
    hf_config = LlamaConfig(
        vocab_size=c.vocab_size,
        hidden_size=c.width,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.groups,
        intermediate_size=c.hidden,
        max_position_embeddings=c.context,
        tie_word_embeddings=c.tie_embeddings,
        rope_theta=c.rope_theta,
        rms_norm_eps=c.norm_eps,
        bos_token_id=special_token,
        eos_token_id=special_token,
    )
    disable_progress_bar()
    with CONSTRUCTION:
        hf = LlamaForCausalLM(hf_config)
    state = {_hf_name(k): v for k, v in model.state_dict().items()}
    if c.tie_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    hf.load_state_dict(state)
    hf.save_pretrained(folder)


def import_hf(folder: Path | str) -> LlamaModel:
    """The model of a Llama folder in the format of transformers.

    Raises ValueError where the architecture is another one or has parts that `LlamaModel` lacks.
    """
    folder = Path(folder)
    spec = json.loads((folder / "config.json").read_text())
    if spec.get("model_type") != "llama" or spec.get("attention_bias") or spec.get("mlp_bias"):
        raise ValueError(f"{folder} holds a {spec.get('model_type')!r} model; only bias-free 'llama' can be imported")
    rope = spec.get("rope_parameters") or {}
    if (spec.get("rope_scaling") or rope).get("rope_type", "default") != "default":
        raise ValueError(f"{folder} scales its rotary positions, which LlamaModel does not")
    model = LlamaModel(
        vocab_size=spec["vocab_size"],
        width=spec["hidden_size"],
        layers=spec["num_hidden_layers"],
        heads=spec["num_attention_heads"],
        kv_heads=spec.get("num_key_value_heads"),
        hidden=spec["intermediate_size"],
        context=spec["max_position_embeddings"],
        tie_embeddings=spec.get("tie_word_embeddings", False),
        rope_theta=spec.get("rope_theta") or rope.get("rope_theta", 10_000.0),
        norm_eps=spec["rms_norm_eps"],
    )
    state = read_weights(folder)
    model.load_state_dict({k: state[_hf_name(k)].float() for k in model.state_dict()})
    return model


def _hf_name(name: str) -> str:
    return name if name.startswith("lm_head.") else f"model.{name}"
