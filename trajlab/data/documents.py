"""Documents under any tokenizer, cut into sliding windows in which every token counts exactly once.

`EvaluationText` holds the same text whatever the model; `DocumentWindows` is that text as one tokenizer cuts it, with
the bytes behind each token, so that models with different tokenizers compare in bits per byte. A window has up to
``context`` targets and the next one starts ``stride`` tokens later; a target that an earlier window scored doesn't
count again, so with stride s every token but a document's first is predicted from at least context − s tokens before
it (or from all there are). Shapes: B windows, S = T + 1 tokens, T targets.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajlab.config.groups import DataConfig
from trajlab.config.schema import LAYOUTS
from trajlab.data import sampling
from trajlab.data.corpora import Corpus
from trajlab.data.tokenizer import bytes_behind
from trajlab.errors import UserError


@dataclass(frozen=True)
class EvaluationText:
    """Validation documents by split, before any tokenizer."""

    documents: Mapping[str, tuple[str, ...]]
    source: str
    """The corpus that was used, after resolution."""
    warning: str | None
    """Why it is not the one that was asked for."""
    corpora: Mapping[str, Corpus] = field(default_factory=dict)
    """Where each split came from."""

    @classmethod
    def of(cls, data: DataConfig, count: int) -> "EvaluationText":
        """The first ``count`` documents of each split. Raises UserError where a corpus can't be had or is empty."""
        main = sampling.resolve(data)
        found = {name: sampling.resolve(data, c.source) if c.source else main for name, c in data.validation.items()}
        documents = {name: tuple(islice(c.documents("validation"), count)) for name, c in found.items()}
        for name, some in documents.items():
            if not some:
                raise UserError(
                    f"data.validation.{name}: {found[name].name} has no validation documents. Whole documents are held out, "
                    f"about {data.validation_fraction:.0%} of them: write data.validation_fraction=1 to take all, or give a "
                    "folder with train.* and valid.*"
                )
        return cls(documents, main.name, main.warning, found)


@dataclass(frozen=True)
class TokenizedText:
    """One sequence of ids that is scored from its second one on."""

    ids_N: np.ndarray
    """int64; the first is only read, never predicted."""
    bytes_N: np.ndarray
    """Bytes of text behind each id; they add up to those of the text, less what the first id stands for."""


def tokenize(tokenizer: Any, document: str, *, begin: bool = True) -> TokenizedText:
    """A document under a transformers tokenizer, after its begin-of-text token if it has one and ``begin``."""
    encoded = tokenizer(document, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast, verbose=False)
    ids = np.asarray(encoded["input_ids"], dtype=np.int64)
    sizes = bytes_behind(document, encoded["offset_mapping"] if tokenizer.is_fast else None, len(ids))
    first = tokenizer.bos_token_id if begin else None
    if first is not None:
        ids, sizes = np.concatenate([[first], ids]), np.concatenate([[0], sizes])
    return TokenizedText(ids.astype(np.int64), sizes.astype(np.int64))


class DocumentWindows:
    """A fixed, ordered set of sliding windows over documents, each target counted once.

    Raises ValueError unless 1 ≤ stride ≤ context, and where there is nothing to predict.
    """

    def __init__(
        self,
        texts: Sequence[TokenizedText],
        context: int,
        stride: int | None = None,
        begin_id: int | None = None,
        *,
        align_last: bool = False,
    ) -> None:
        stride = stride or context
        if not 1 <= stride <= context:
            raise ValueError(f"stride {stride} must lie between 1 and the context of {context}, or tokens are left out")
        self.texts = [t for t in texts if len(t.ids_N) > 1]
        if not self.texts:
            raise ValueError("the documents have no token to predict")
        self.context = min(context, max(len(t.ids_N) for t in self.texts) - 1)
        """Targets of a window: no more than the longest document has."""
        self.stride = min(stride, self.context)
        self.begin_id = begin_id
        """What stands in the first place of every window, which is never predicted; None: whatever the text has there."""
        self.separator_id: int | None = None
        """The id that stands between documents and nowhere else; None: there is none of the kind."""
        self.align_last = align_last
        """Whether the last window of a text ends where the text does, and is as long as the others where the text is."""
        self._cuts = [
            (number, *cut) for number, text in enumerate(self.texts) for cut in self._cut(len(text.ids_N) - 1)
        ]

    def _cut(self, targets: int) -> Iterator[tuple[int, int]]:
        """Of each window of a text, where it starts and how many of its targets the one before has scored."""
        starts = list(range(0, max(targets - self.context, 0) + self.stride, self.stride))
        if self.align_last:
            starts[-1] = max(targets - self.context, 0)
        yield 0, 0
        yield from ((start, before + self.context - start) for before, start in pairwise(starts))

    @classmethod
    def over(
        cls,
        documents: Sequence[str],
        tokenizer: Any,
        context: int,
        stride: int | None = None,
        *,
        layout: str = "stream",
        begin: bool = True,
        separator: str = "eos",
        begin_windows: bool = False,
        align_last: bool = False,
    ) -> "DocumentWindows":
        """``documents``: each by itself; ``stream``: all in a row, the separator after each (`separator_ids`).

        ``begin_windows`` puts the begin-of-text token in the first place of every window, also in the middle of a text, as
        models want it that never saw a text without. Raises UserError where the tokenizer has none. ``align_last`` gives the
        last window of a text as much to read as the others have, as lm-evaluation-harness's rolling windows do.
        """
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
        texts = [tokenize(tokenizer, d, begin=begin and layout == "documents") for d in documents]
        between = separator_ids(tokenizer, separator) if layout == "stream" else []
        if layout == "stream":
            texts = [_joined(texts, tokenizer, begin, between)]
        if begin_windows and tokenizer.bos_token_id is None:
            raise UserError("evaluation.begin_windows=true: the tokenizer has no begin-of-text token; write false")
        begin_id = tokenizer.bos_token_id if begin_windows else None
        windows = cls(texts, context, stride, begin_id, align_last=align_last)
        if separator in ("eos", "bos") and between:
            windows.separator_id = between[0]
        return windows

    def __len__(self) -> int:
        return len(self._cuts)

    def batch(self, windows: np.ndarray | range) -> Tensor:
        """Ids (B, S), padded with 0 on the right, where causal attention can't see it."""
        ids_BS = torch.zeros(len(windows), self.context + 1, dtype=torch.int64)
        for row, window in enumerate(windows):
            part = self._ids(int(window))
            ids_BS[row, : len(part)] = torch.from_numpy(part)
        return ids_BS

    def mask(self, windows: np.ndarray | range) -> Tensor:
        """Targets (B, T) that are text and that no earlier window has scored."""
        mask_BT = torch.zeros(len(windows), self.context, dtype=torch.bool)
        for row, window in enumerate(windows):
            _, _, scored = self._cuts[int(window)]
            mask_BT[row, scored : len(self._ids(int(window))) - 1] = True
        return mask_BT

    def _ids(self, window: int) -> np.ndarray:
        number, start, _ = self._cuts[window]
        ids = self.texts[number].ids_N[start : start + self.context + 1]
        return ids if self.begin_id is None or not start else np.concatenate([[self.begin_id], ids[1:]])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Targets of each window, padding left out."""
        return np.array([len(self._ids(w)) - 1 for w in range(len(self))])

    @property
    def token_count(self) -> int:
        """Targets that count, over all windows."""
        return sum(len(t.ids_N) - 1 for t in self.texts)

    @property
    def byte_count(self) -> int:
        """Bytes of text behind the targets that count."""
        return int(sum(t.bytes_N[1:].sum() for t in self.texts))

    @cached_property
    def largest_id(self) -> int:
        """The largest id."""
        return max(int(t.ids_N.max()) for t in self.texts)

    def fingerprint(self) -> str:
        """A hash of the ids and of how they are cut."""
        cut = f"{self.context}|{self.stride}" + (f"|{self.begin_id}" if self.begin_id is not None else "")
        cut += "|last aligned" if self.align_last else ""
        digest = hashlib.blake2b(cut.encode(), digest_size=12)
        for text in self.texts:
            digest.update(str(len(text.ids_N)).encode())
            digest.update(text.ids_N.tobytes())
        return digest.hexdigest()


def separator_ids(tokenizer: Any, separator: str) -> list[int]:
    """What stands after each document of a stream: ``eos``, ``bos``, ``none``, or any text.

    It should be what stood between documents in training: models that never saw it pay dearly for each. Raises UserError
    for ``bos`` where the tokenizer has none; without an end-of-text token ``eos`` is nothing.
    """
    if separator == "none":
        return []
    if separator == "bos" and tokenizer.bos_token_id is None:
        raise UserError("evaluation.separator=bos: the tokenizer has no begin-of-text token; write eos, none or a text")
    if separator in ("eos", "bos"):
        found = tokenizer.eos_token_id if separator == "eos" else tokenizer.bos_token_id
        return [] if found is None else [found]
    return list(tokenizer(separator, add_special_tokens=False, verbose=False)["input_ids"])


def _joined(texts: Sequence[TokenizedText], tokenizer: Any, begin: bool, end: list[int]) -> TokenizedText:
    first = [tokenizer.bos_token_id] if begin and tokenizer.bos_token_id is not None else []
    ids = [np.array(first, np.int64)]
    sizes = [np.zeros(len(first), np.int64)]
    for text in texts:
        ids += [text.ids_N, np.array(end, np.int64)]
        sizes += [text.bytes_N, np.zeros(len(end), np.int64)]
    return TokenizedText(np.concatenate(ids), np.concatenate(sizes))
