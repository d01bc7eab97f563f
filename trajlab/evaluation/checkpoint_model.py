"""A published checkpoint as a LightningModule that evaluates: OPT, Pythia, any causal LM of transformers.

`CheckpointModel.open` takes a folder, its own tokenizer, a dtype and a device (or a device map). ``task=evaluate`` hands
its ``lm`` to the evaluation engine; by hand ``Trainer.predict`` gives the token losses of batches of windows, and
`document_loss` scores one long text. No code that comes with a checkpoint is run unless asked for. Shapes: B windows, S = T + 1 tokens, T targets.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import lightning as L
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from trajlab.checkpoints.convert import open_folder
from trajlab.data.documents import DocumentWindows, TokenizedText, tokenize
from trajlab.errors import UserError
from trajlab.evaluation.nll import token_losses
from trajlab.models.hf import CONSTRUCTION, HFModel
from trajlab.terminal import say

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "auto": "auto"}


@dataclass(frozen=True)
class DocumentLoss:
    """Loss of one text, summed: in nats over ``token_count`` tokens that stand for ``byte_count`` bytes."""

    nll_sum: float
    token_count: int
    byte_count: int

    @property
    def perplexity(self) -> float:
        """exp of the mean loss, a token."""
        return float(torch.tensor(self.nll_sum / self.token_count, dtype=torch.float64).exp())

    @property
    def bits_per_byte(self) -> float:
        """What compares models with different tokenizers."""
        return self.nll_sum / log(2) / self.byte_count


class CheckpointModel(L.LightningModule):
    """A wrapped transformers model and its tokenizer, for evaluation alone::

    checkpoint = CheckpointModel.open("folder")
    losses = L.Trainer(logger=False).predict(checkpoint, DataLoader(tokens_NS, batch_size=8))  # a list of (B, T)
    """

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.lm: Any = model.eval()
        """A `trajlab.protocols.CausalLM`: one of transformers, or what a run of trajlab trained; what the engine scores."""
        self.tokenizer = tokenizer

    @classmethod
    def open(
        cls,
        folder: Path | str,
        tokenizer: Any = None,
        *,
        dtype: str = "float32",
        device: str = "cpu",
        device_map: str | None = None,
        remote_code: bool = False,
        model_class: str | None = None,
    ) -> "CheckpointModel":
        """The checkpoint in a folder; ``tokenizer`` None: the folder's own.

        ``model_class`` is the class of a run's model that is neither trajlab's own nor one of transformers.

        Raises UserError where the folder can't be opened, needs code of its own, or doesn't fit the tokenizer.
        """
        if tokenizer is None:
            tokenizer = open_tokenizer(folder, remote_code=remote_code)
        if device_map is not None and importlib.util.find_spec("accelerate") is None:
            raise UserError(f"model.device_map={device_map} needs the package accelerate; install it, or write null")
        if dtype not in DTYPES:
            raise UserError(f"model.dtype={dtype!r} must be one of {', '.join(DTYPES)}")
        if (own := open_folder(Path(folder), model_class)) is not None:
            if device_map is not None:
                raise UserError(f"model.device_map={device_map} is for models of transformers; write null for {folder}")
            return cls(own.to(device=device, dtype=_dtype(dtype)), tokenizer)
        hf, loaded = _from_pretrained(
            AutoModelForCausalLM,
            folder,
            dtype=DTYPES[dtype],
            device_map=device_map,
            trust_remote_code=remote_code,
            output_loading_info=True,
        )
        _refuse_gaps(hf, loaded, folder)
        model = HFModel(hf)
        return cls(model if device_map else model.to(device), tokenizer)

    @property
    def hf(self) -> PreTrainedModel:
        """The model of transformers, for what needs its interface. Raises UserError where it is a run's own model."""
        if not isinstance(self.lm, HFModel):
            raise UserError(
                f"{type(self.lm).__name__} is no model of transformers: its losses can be measured, but no task.tasks and no "
                "mixtures; write task.tasks=[]"
            )
        return self.lm.hf

    def refuse_ids(self, largest: int) -> None:
        """Raise UserError for an id that the embedding has no row for; entries that no text uses do no harm."""
        if largest >= self.lm.vocab_size:
            raise UserError(
                f"the tokenizer {self.tokenizer.name_or_path or ''} makes ids up to {largest:,} of this text, the model's "
                f"embedding has {self.lm.vocab_size:,} rows; set model.tokenizer to the one that the model was trained with"
            )

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        return self.lm(tokens_BT)

    def predict_step(self, tokens_BS: Tensor, batch_idx: int = 0) -> Tensor:
        """Token losses (B, T) of a batch of windows, in nats."""
        return token_losses(self.lm, tokens_BS)

    def document_loss(
        self, text: str, context: int | None = None, stride: int | None = None, batch_windows: int = 8
    ) -> DocumentLoss:
        """The loss of a text of any length: windows of ``context`` tokens, the next one ``stride`` tokens later.

        ``context`` None: as long as the model takes; ``stride`` None: half of it.
        """
        context = self.context(context)
        windows = DocumentWindows([tokenize(self.tokenizer, text)], context, stride or max(context // 2, 1))
        self.refuse_ids(windows.largest_id)
        total, device = 0.0, next(self.lm.parameters()).device
        for start in range(0, len(windows), batch_windows):
            numbers = range(start, min(start + batch_windows, len(windows)))
            nll_BT = token_losses(self.lm, windows.batch(numbers).to(device)).cpu().double()
            total += float((nll_BT * windows.mask(numbers)).sum())
        return DocumentLoss(total, windows.token_count, windows.byte_count)

    def context(self, asked: int | None) -> int:
        """The context to use. Raises UserError for one that the model has no positions for."""
        longest = getattr(self.lm, "longest", None)
        if asked and longest and asked > longest:
            raise UserError(f"evaluation.context={asked} is more than the {longest} positions that the model takes")
        return asked or longest or 2048

    @torch.no_grad()
    def sequence_losses(self, sequences: list[TokenizedText], batch: int = 16) -> list[Tensor]:
        """Losses of every token after the first of each sequence, padded together by length; nats, float32."""
        self.refuse_ids(max((int(s.ids_N.max()) for s in sequences if len(s.ids_N)), default=0))
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i].ids_N))
        device = next(self.lm.parameters()).device
        losses: list[Tensor] = [torch.empty(0)] * len(sequences)
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            tokens_BS = torch.zeros(len(some), len(sequences[some[-1]].ids_N), dtype=torch.int64)
            for row, i in enumerate(some):
                tokens_BS[row, : len(sequences[i].ids_N)] = torch.from_numpy(sequences[i].ids_N)
            nll_BT = token_losses(self.lm, tokens_BS.to(device)).cpu()
            for row, i in enumerate(some):
                losses[i] = nll_BT[row, : len(sequences[i].ids_N) - 1]
        return losses


def open_tokenizer(source: Path | str, *, remote_code: bool = False) -> Any:
    """The tokenizer of a folder or hub repository."""
    return _from_pretrained(AutoTokenizer, source, trust_remote_code=remote_code)


def _from_pretrained(kind: Any, source: Path | str, **options: Any) -> Any:
    disable_progress_bar()
    what = "model" if kind is AutoModelForCausalLM else "tokenizer"
    try:
        with CONSTRUCTION:
            return kind.from_pretrained(str(source), **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as e:
        said = " ".join(str(e).split())[:300]
        if "trust_remote_code" in said:
            raise UserError(
                f"{source}: the {what} needs code that comes with it, which is not run; where you trust it, write "
                "model.remote_code=<model.name>"
            ) from e
        raise UserError(f"{source}: no {what} can be opened there ({type(e).__name__}: {said})") from e


def _refuse_gaps(hf: PreTrainedModel, loaded: Mapping[str, Any], folder: Path | str) -> None:
    """Raise UserError where transformers drew parameters at random because the files lack them or hold another shape.

    A missing name that is tied to a loaded one (a head that is the embedding) is no gap.
    """
    state = hf.state_dict(keep_vars=True)
    missing = set(loaded["missing_keys"])
    filled = {id(t) for name, t in state.items() if name not in missing}
    gaps = sorted(n for n in missing if id(state.get(n)) not in filled)
    gaps += sorted(
        f"{n} (shape {tuple(there)}, the model has {tuple(own)})" for n, there, own in loaded["mismatched_keys"]
    )
    if gaps:
        named = ", ".join(gaps[:3]) + (", …" if len(gaps) > 3 else "")
        raise UserError(
            f"{folder}: the weights lack {len(gaps)} of the model's tensors ({named}), which would be drawn at random; "
            "fetch the checkpoint again, or leave it out (model.series.steps, skip_broken=true)"
        )
    if unused := sorted(loaded["unexpected_keys"]):
        say(
            f"warning: {folder}: the model that config.json describes has no place for {len(unused)} tensors ({unused[0]}, …)"
        )


def _dtype(name: str) -> torch.dtype | None:
    """None, for ``auto``: as stored."""
    dtype = DTYPES[name]
    return dtype if isinstance(dtype, torch.dtype) else None
