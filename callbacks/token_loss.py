"""The loss of the same few thousand tokens, interval after interval.

Shapes: B windows, T positions, M probes.
"""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torchmetrics import Metric

from trajlab.errors import UserError
from trajlab.evaluation.context import RunMember
from trajlab.evaluation.engine import share, target_mask
from trajlab.protocols import Interval
from trajlab.rng import seed_of
from trajlab.store.tables import PROBES, TOKENS


class ProbeLosses(Metric):
    """Losses of probes in the order in which their windows come; processes' shares follow one another."""

    nll: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nll", [], dist_reduce_fx="cat")

    def update(self, nll_M: Tensor) -> None:
        """Add the probes of a batch."""
        self.nll.append(nll_M)

    def compute(self) -> Tensor:
        """All of them, shape (M,)."""
        return torch.cat(self.nll) if isinstance(self.nll, list) else self.nll


class TokenLoss(RunMember):
    """Nll of every token of a pinned probe set, per weight variant (docs/methods.md §5), in nats (float32).

    The probe set is drawn once among the targets of ``split`` that count: a function of the windows, ``probes`` and
    ``seed`` alone, so every checkpoint and every run on the same windows has the same one. Rows go to table `tokens`;
    what each probe is goes to table `probes`, once a run: its window and position (1-based), its id, how often the id
    stands in the split, and a fingerprint of the set. Raises UserError where a resumed run would get another set.
    """

    table = "tokens"

    def __init__(self, probes: int = 10_000, split: str = "valid", seed: int = 0) -> None:
        if probes < 1:
            raise ValueError(f"probes must be at least 1, got {probes}")
        self.probes, self.split, self.seed = probes, split, seed
        self._losses = ProbeLosses()
        self._mask_by_window: Tensor | None = None
        """Which targets are probes, for all windows of the split (W, T)."""
        self._window = 0
        self._recording = False

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        """Start a variant on a split; the first time draw the probe set and store what it is."""
        if self.split not in self.run.engine.splits:
            known = ", ".join(self.run.engine.splits)
            raise UserError(f"callbacks.token_loss.split={self.split!r} is no validation split; there are {known}")
        self._recording = split == self.split
        self._losses.reset()
        if not self._recording:
            return
        if self._mask_by_window is None:
            self._pin()
        self._window = share(len(self.run.engine.splits[split])).start

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        """Pick the probes of a batch."""
        if not self._recording:
            return
        assert self._mask_by_window is not None
        windows = slice(self._window, self._window + len(nll_BT))
        self._losses.update(nll_BT[self._mask_by_window[windows]].float())
        self._window += len(nll_BT)

    def rows(self) -> pa.Table:
        """One row per probe; none for other splits."""
        nll_M = self._losses.compute().reshape(-1).numpy() if self._recording else np.empty(0, np.float32)
        count = len(nll_M)
        columns = {"probe": np.arange(count), "nll": nll_M}
        return pa.table([pa.array(columns[f.name], f.type) for f in TOKENS.measured], schema=TOKENS.measured)

    # ---- the probe set

    def _pin(self) -> None:
        targets_WT, counted_WT = self._all_targets()
        candidates = np.flatnonzero(counted_WT)
        generator = np.random.default_rng(seed_of("sample", self.seed))
        chosen = np.sort(generator.choice(candidates, min(self.probes, len(candidates)), replace=False))
        flat = np.zeros(counted_WT.size, bool)
        flat[chosen] = True
        self._mask_by_window = torch.from_numpy(flat.reshape(counted_WT.shape))
        self._store(chosen, targets_WT, counted_WT)

    def _all_targets(self) -> tuple[np.ndarray, np.ndarray]:
        """Every target of the split and whether it counts, (W, T) each."""
        windows = self.run.engine.splits[self.split]
        targets, masks = [], []
        for start in range(0, len(windows), 256):
            numbers = range(start, min(start + 256, len(windows)))
            targets_BT = windows.batch(numbers)[:, 1:]
            targets.append(targets_BT.numpy())
            masks.append(target_mask(windows, numbers, targets_BT).numpy())
        return np.concatenate(targets), np.concatenate(masks)

    def _store(self, chosen: np.ndarray, targets_WT: np.ndarray, counted_WT: np.ndarray) -> None:
        window, position = np.divmod(chosen, counted_WT.shape[1])
        ids = targets_WT.reshape(-1)[chosen]
        frequency_V = np.bincount(targets_WT[counted_WT])
        digest = hashlib.blake2b(np.stack([chosen, ids]).astype(np.int64).tobytes(), digest_size=12).hexdigest()
        self._refuse_other_set(digest)
        texts = self.run.token_texts(ids) if self.run.token_texts else [None] * len(ids)
        columns: dict[str, Any] = {
            "split": [self.split] * len(ids),
            "probe": np.arange(len(ids)),
            "window": window,
            "position": position + 1,
            "token_id": ids,
            "token": texts,
            "frequency": frequency_V[ids],
            "fingerprint": [digest] * len(ids),
        }
        rows = pa.table([pa.array(columns[f.name], f.type) for f in PROBES.rows], schema=PROBES.rows)
        self.run.store.write(PROBES.name, Interval(0, 0, 0, 0), rows)

    def _refuse_other_set(self, digest: str) -> None:
        stored = self.run.store.read(PROBES.name, ["fingerprint"])
        if stored is not None and len(stored) and stored["fingerprint"][0].as_py() != digest:
            raise UserError(
                f"{self.run.store.folder}: the probe set is another one than before (other text, tokenizer or windows); "
                "bring them back, or write overwrite=true"
            )
