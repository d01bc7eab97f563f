"""The log-likelihood of the ends of rows of ids: options behind their questions (`trajlab.measures.multiple_choice`).

What all rows begin with goes through the model once, and its keys and values are shared, where the model's cache can be
repeated; else whole rows are scored. Shapes: R rows (question × option), T tokens.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.evaluation.nll import logit_losses


@dataclass(frozen=True)
class Row:
    """A question with one of its options, as ids."""

    ids: tuple[int, ...]
    start: int
    """Where the option begins; at least 1."""

    def cut(self, longest: int) -> "Row":
        """The last ``longest`` ids."""
        over = max(len(self.ids) - longest, 0)
        return Row(self.ids[over:], max(self.start - over, 1))


def common_prefix(sequences: Sequence[Sequence[int] | np.ndarray]) -> int:
    """Ids that all of them begin with."""
    shortest = min(map(len, sequences))
    first = np.asarray(sequences[0])[:shortest]
    differing = [np.flatnonzero(np.asarray(s)[:shortest] != first) for s in sequences[1:]]
    return min((int(d[0]) for d in differing if len(d)), default=shortest)


@torch.no_grad()
def row_likelihoods(model: CheckpointModel, rows: Sequence[Row], batch: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of each row's option, and its tokens. What all rows begin with goes through the model once."""
    model.refuse_ids(max(max(r.ids) for r in rows))
    device = next(model.lm.parameters()).device
    shared, cache = _shared_prefix(model, rows, device)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    sums, counts = np.zeros(len(rows)), np.zeros(len(rows))
    for first in range(0, len(order), batch):
        some = order[first : first + batch]
        logp_RT, mask_RT = _suffix_logp(model, [rows[i] for i in some], shared, cache, device)
        sums[some] = (logp_RT * mask_RT).sum(1).numpy()
        counts[some] = mask_RT.sum(1).numpy()
    return sums, counts


def _shared_prefix(model: CheckpointModel, rows: Sequence[Row], device: torch.device) -> tuple[int, Any]:
    """How many ids all rows begin with, and the model's cache of them; 0 and None where it can't be repeated.

    Recurrent models keep a state instead of keys and values, others have a cache of their own make. So it is tried: the
    shortest row behind the cache has to give what the whole row gives.
    """
    shared = min(common_prefix([r.ids for r in rows]), min(r.start for r in rows) - 1)
    if not shared:
        return 0, None
    prefix_1P = torch.tensor([rows[0].ids[:shared]], device=device)
    trial = [min(rows, key=lambda r: len(r.ids))] * 2  # two, so that repeating is tried
    try:
        cache = model.hf(input_ids=prefix_1P, use_cache=True).past_key_values
        behind, mask = _suffix_logp(model, trial, shared, cache, device)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError, RuntimeError):
        return 0, None
    whole, whole_mask = _suffix_logp(model, trial, 0, None, device)
    close = torch.allclose(behind[mask], whole[whole_mask], rtol=0, atol=CACHE_ATOL.get(model.hf.dtype, 0.5))
    return (shared, cache) if close else (0, None)


CACHE_ATOL = {torch.float32: 1e-3, torch.float64: 1e-6}
"""Nats per token between the two ways; half precision rounds them apart by more."""


def _suffix_logp(
    model: CheckpointModel, rows: Sequence[Row], shared: int, cache: Any, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Log-probability (float64) of each id after the shared prefix's next one, and which of them are the option's."""
    T = max(len(r.ids) for r in rows) - shared - 1
    ids_RS = torch.zeros(len(rows), T + 1, dtype=torch.int64)
    mask_RT = torch.zeros(len(rows), T, dtype=torch.bool)
    for number, row in enumerate(rows):
        ids_RS[number, : len(row.ids) - shared] = torch.tensor(row.ids[shared:])
        mask_RT[number, row.start - shared - 1 : len(row.ids) - shared - 1] = True
    options: dict[str, Any] = {"use_cache": False}
    if cache is not None:
        own = copy.deepcopy(cache)  # the pass appends to it
        own.batch_repeat_interleave(len(rows))
        seen = torch.ones(len(rows), shared + T, dtype=torch.int64, device=device)
        options = {"use_cache": True, "past_key_values": own, "attention_mask": seen}
    logits_RTV = model.hf(input_ids=ids_RS[:, :-1].to(device), **options).logits
    return -logit_losses(logits_RTV, ids_RS[:, 1:]).double().cpu(), mask_RT
