"""The evaluation engine: variants × splits × windows → consumers.

For each weight variant and validation split one forward pass over the split's windows, in order; every consumer gets
every token's loss and answers with rows, to which the engine adds the columns ``variant`` and ``split``. The raw weights are evaluated in place, other variants in one replica that is built on first use.
With several processes each takes a contiguous share of the windows and the consumers' accumulators add up.
Shapes: B windows, S = T + 1 tokens, T positions.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Protocol, cast, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn
from torch import distributed as dist

from trajlab.evaluation.nll import token_losses
from trajlab.protocols import CausalLM, Interval, LossConsumer, WeightVariants

RAW = "raw"

Precision = Callable[[], AbstractContextManager]
"""Makes a context for forward passes, e.g. autocast."""


class Windows(Protocol):
    """A split: a fixed, ordered set of windows."""

    def __len__(self) -> int: ...

    def batch(self, windows: np.ndarray | range) -> Tensor:
        """Token ids (B, S) of the windows of these numbers."""
        ...


@runtime_checkable
class MaskedWindows(Windows, Protocol):
    """Windows of which some targets don't count: scored in an earlier window already, or padding."""

    def mask(self, windows: np.ndarray | range) -> Tensor:
        """Which targets (B, T) of these windows count."""
        ...


@runtime_checkable
class UnevenWindows(Windows, Protocol):
    """Windows that differ in length, padded on the right."""

    lengths: np.ndarray
    """Targets of each window, padding left out."""


SORTED_BATCHES = 32
"""Batches whose windows are sorted by length together; their losses are in memory at once."""


def target_mask(windows: Windows, numbers: np.ndarray | range, targets_BT: Tensor) -> Tensor:
    """Which targets (B, T) of these windows count: all of them, unless the windows say otherwise."""
    if isinstance(windows, MaskedWindows):
        return windows.mask(numbers)
    return torch.ones_like(targets_BT, dtype=torch.bool)


class EvaluationEngine:
    """Scores a model on its splits and hands the losses to consumers."""

    def __init__(
        self,
        splits: Mapping[str, Windows],
        batch_windows: int = 16,
        heard: Callable[[str, str, int, int], None] | None = None,
    ) -> None:
        self.splits = dict(splits)
        self.batch_windows = batch_windows
        self.heard = heard or (lambda variant, split, scored, windows: None)
        """Told after every batch how many of a split's windows are scored."""
        self._replica: nn.Module | None = None

    def evaluate(
        self,
        interval: Interval,
        model: nn.Module,
        consumers: Sequence[LossConsumer],
        averagers: Iterable[WeightVariants] = (),
        *,
        raw: bool = True,
        precision: Precision = nullcontext,
    ) -> dict[str, pa.Table]:
        """Rows of every consumer by table, over all variants and splits. The model's weights, mode and gradients stay.

        ``raw=False`` leaves the model's own weights out, where their rows are there already; ``precision`` makes the
        context of each split's forward passes.
        """
        pieces: dict[str, list[pa.Table]] = {}
        for variant, weights in _all_variants(averagers, raw):
            scored = model if weights is None else self._loaded(model, weights, variant)
            for split, windows in self.splits.items():
                for consumer in consumers:
                    consumer.begin(interval, variant, split)
                heard = partial(self.heard, variant, split)
                self._score(scored, windows, consumers, precision, heard)
                for consumer in consumers:
                    pieces.setdefault(consumer.table, []).append(placed(consumer.rows(), variant, split))
        return {table: pa.concat_tables(p, promote_options="default") for table, p in pieces.items()}

    def _score(
        self,
        model: nn.Module,
        windows: Windows,
        consumers: Sequence[LossConsumer],
        precision: Precision,
        heard: Callable[[int, int], None],
    ) -> None:
        device, own = next(model.parameters()).device, share(len(windows))
        with evaluation_mode(model), torch.no_grad(), precision():
            if not own and len(windows):
                self._take_part(windows, own, consumers)
            for together in _batches(own, self.batch_windows * SORTED_BATCHES):
                told = lambda scored, before=together.start - own.start: heard(before + scored, len(own))  # noqa: E731
                nll_WT = self._by_length(cast(CausalLM, model), windows, together, device, told)
                for numbers in _batches(together, self.batch_windows):
                    nll_BT = nll_WT[numbers.start - together.start : numbers.stop - together.start]
                    targets_BT = windows.batch(numbers)[:, 1:]
                    mask_BT = target_mask(windows, numbers, targets_BT)
                    for consumer in consumers:
                        consumer.update(nll_BT, mask_BT, targets_BT)

    @staticmethod
    def _take_part(windows: Windows, none: range, consumers: Sequence[LossConsumer]) -> None:
        """A batch of no window, where there are more processes than windows: sums are reduced over all of them."""
        targets_BT = windows.batch(none)[:, 1:]
        for consumer in consumers:
            consumer.update(torch.zeros(targets_BT.shape), target_mask(windows, none, targets_BT), targets_BT)

    def _by_length(
        self, model: CausalLM, windows: Windows, numbers: range, device: torch.device, told: Callable[[int], None]
    ) -> Tensor:
        """Losses (W, T) of some windows in their order; windows of like length go through the model together.

        Documents by themselves differ in length: padded to the longest of all, two fifths of the work is for nothing.
        """
        lengths = windows.lengths[numbers.start : numbers.stop] if isinstance(windows, UnevenWindows) else None
        even = lengths is None or len(set(lengths.tolist())) == 1
        order = np.arange(len(numbers)) if even else np.argsort(cast(np.ndarray, lengths), kind="stable")
        nll_WT: Tensor | None = None
        for first in range(0, len(order), self.batch_windows):
            some = order[first : first + self.batch_windows]
            batch = range(numbers[some[0]], numbers[some[-1]] + 1) if even else some + numbers.start
            tokens_BS = windows.batch(batch)
            longest = tokens_BS.shape[1] - 1 if even else int(cast(np.ndarray, lengths)[some].max())
            nll_BT = token_losses(model, tokens_BS[:, : longest + 1].to(device)).float()
            if nll_WT is None:
                nll_WT = torch.zeros(len(numbers), tokens_BS.shape[1] - 1, device=nll_BT.device)
            nll_WT[torch.from_numpy(some).to(nll_BT.device), :longest] = nll_BT
            told(first + len(some))
        # one transfer for all of them: after each batch it would make a GPU wait for the processor
        return torch.empty(0) if nll_WT is None else nll_WT.cpu()

    @torch.no_grad()
    def _loaded(self, model: nn.Module, weights: Mapping[str, Tensor], variant: str) -> nn.Module:
        """The replica with the variant's weights over the model's own."""
        if self._replica is None:
            self._replica = copy.deepcopy(model)
        own, replica = dict(model.named_parameters()), dict(self._replica.named_parameters())
        if unknown := set(weights) - set(own):
            raise ValueError(f"variant {variant!r} has weights that the model lacks: {sorted(unknown)[:3]}")
        for name, parameter in replica.items():
            parameter.copy_(weights.get(name, own[name]))
        for mine, theirs in zip(self._replica.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        return self._replica


def placed(rows: pa.Table, variant: str, split: str) -> pa.Table:
    """The rows with the first two columns ``variant`` and ``split``; a column that a consumer filled itself stays."""
    for place, (name, value) in enumerate({"variant": variant, "split": split}.items()):
        if name not in rows.column_names:
            rows = rows.add_column(place, name, pa.array([value] * len(rows), pa.string()))
        elif rows[name].null_count:
            column = pc.fill_null(rows[name].cast(pa.string()), value)
            rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each submodule's former mode after."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _all_variants(averagers: Iterable[WeightVariants], raw: bool) -> Iterator[tuple[str, Mapping[str, Tensor] | None]]:
    if raw:
        yield RAW, None
    for averager in averagers:
        yield from averager.variants()


def share(count: int) -> range:
    """This process' contiguous part of the windows."""
    if not (dist.is_available() and dist.is_initialized()):
        return range(count)
    rank, processes = dist.get_rank(), dist.get_world_size()
    return range(count * rank // processes, count * (rank + 1) // processes)


def _batches(numbers: range, size: int) -> Iterator[range]:
    return (numbers[i : i + size] for i in range(0, len(numbers), size))
