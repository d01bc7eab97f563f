"""``task=export``: a snapshot as a folder that transformers opens, tokenizer included. Also snapshots by step."""

import json
from pathlib import Path

import torch
from omegaconf import OmegaConf
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from trajlab.checkpoints.weights import distinct_tensors
from trajlab.config.parse import parse
from trajlab.config.schema import PrepareConfig
from trajlab.data import tokenizer as tokenizers
from trajlab.data.prepare import prepare as prepare_data
from trajlab.errors import UserError
from trajlab.models.hf import HFModel, from_config_dict, save_folder
from trajlab.models.llama import LlamaModel, export_hf
from trajlab.store.run_store import RunStore


def write_folder(snapshot: Path, to: Path, encoder: Tokenizer) -> None:
    """A snapshot's model and the tokenizer as a folder that transformers opens.

    Raises UserError where the model has fewer entries than the tokenizer.
    """
    model = load_snapshot(snapshot)
    if encoder.get_vocab_size() > model.vocab_size:
        raise UserError(
            f"snapshot={snapshot} has {model.vocab_size:,} entries, the tokenizer {encoder.get_vocab_size():,}; "
            "name the experiment that the snapshot comes from (experiment=…)"
        )
    end = tokenizers.end_of_text_id(encoder)
    if isinstance(model, HFModel):
        save_folder(model, to)
    else:
        export_hf(model, to, end)
    text = encoder.id_to_token(end)
    PreTrainedTokenizerFast(tokenizer_object=encoder, eos_token=text, bos_token=text).save_pretrained(to)


def load_snapshot(path: Path) -> LlamaModel | HFModel:
    """The model of a run's snapshot. Raises UserError where the file is absent, broken or of another architecture."""
    metadata, state = _read(path)
    shape = json.loads(metadata.get("config", "{}"))
    if "transformers" in shape:
        model: LlamaModel | HFModel = from_config_dict(shape)
    elif "kv_heads" in shape:
        model = LlamaModel(**shape)
    else:
        raise UserError(
            f"snapshot={path} is of a model that says nothing of its shape (config_dict); it can't be exported"
        )
    # a tied tensor is stored under its first name alone
    absent = set(model.load_state_dict(state, strict=False).missing_keys) - _tied_names(model)
    if absent:
        raise UserError(f"snapshot={path} lacks {sorted(absent)[:3]}; it was not written by this version")
    return model


def snapshot_steps(run: Path) -> list[tuple[int, int]]:
    """Tokens and optimizer steps of a run's snapshots, in order."""
    files = sorted((run / "snapshots").glob("tokens=*.safetensors"))
    return [(int(m["tokens"]), int(m["step"])) for m in (_read(f, tensors=False)[0] for f in files)]


def run_tokenizer(run: Path) -> Tokenizer:
    """The tokenizer that a stored run was trained with, made or found again."""
    manifest = RunStore(run, "", "", None).manifest()
    if manifest is None:
        raise UserError(f"{run} is no run of trajlab: it has no manifest.json")
    data = parse(OmegaConf.create(manifest["config"]), PrepareConfig)
    return prepare_data(data.data, data.tokenizer, data.intervals.budget_tokens).tokenizer


def _tied_names(model: torch.nn.Module) -> set[str]:
    return set(model.state_dict()) - set(distinct_tensors(model))


def _read(path: Path, *, tensors: bool = True) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
            return file.metadata() or {}, state
    except (OSError, SafetensorError) as e:
        raise UserError(f"snapshot={path} can't be read ({e}); give a file from a run's snapshots folder") from e
