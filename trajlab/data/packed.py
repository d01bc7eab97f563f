"""Documents as one stream of uint16 ids on disk, cut into windows of T + 1 tokens.

`pack` writes the stream, `PackedWindows` reads windows of it, `training_batches` puts them into a run's order. Window
``w`` holds ids w·stride … w·stride + T: T inputs and, one further, their T targets. At a stride of T each token but the
first is a target exactly once. Shapes: B windows, S = T + 1, N tokens.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from trajlab.data.corpora import Corpus
from trajlab.data.tokenizer import bytes_behind, end_of_text_id, fingerprint
from trajlab.errors import UserError
from trajlab.files import publish
from trajlab.rng import epoch_offset, epoch_order

DTYPE = np.uint16


def pack(corpus: Corpus, split: str, tokenizer: Tokenizer, limit: int, cache_dir: Path) -> np.ndarray:
    """The first ``limit`` tokens of a split as a read-only memory map, an end-of-text token after each document.

    Fewer where the split is shorter. Written once for each (corpus, tokenizer, split, limit).
    """
    if tokenizer.get_vocab_size() > np.iinfo(DTYPE).max + 1:
        raise UserError(f"the tokenizer has {tokenizer.get_vocab_size():,} entries; packed tokens hold at most 65,536")
    key = f"{corpus.identity()}|{fingerprint(tokenizer)}|{split}|{limit}"
    path = cache_dir / "tokens" / f"{hashlib.blake2b(key.encode(), digest_size=12).hexdigest()}.{split}.bin"
    if not path.exists():
        publish(path, lambda temporary: _write(temporary, _encoded(corpus, split, tokenizer), limit))
    if path.stat().st_size == 0:
        return np.zeros(0, DTYPE)
    return np.memmap(path, dtype=DTYPE, mode="r")


def _encoded(corpus: Corpus, split: str, tokenizer: Tokenizer) -> Iterator[np.ndarray]:
    """The ids of a few documents at a time, so that an endless corpus is read only as far as is asked for."""
    end = end_of_text_id(tokenizer)
    pieces = ((piece, last) for d in corpus.documents(split) for piece, last in _pieces(d))
    while some := list(islice(pieces, 64)):
        encodings = tokenizer.encode_batch_fast([piece for piece, _ in some], add_special_tokens=False)
        yield np.concatenate(
            [
                np.array([*e.ids, end] if last else e.ids, dtype=DTYPE)
                for e, (_, last) in zip(encodings, some, strict=True)
            ]
        )


def byte_count(corpus: Corpus, split: str, tokenizer: Tokenizer, windows: "PackedWindows") -> int:
    """Bytes of text behind all targets of the windows, each as often as it is one, from the offsets that the tokenizer gives.

    For tokenizers whose ids alone don't tell their bytes; the text is encoded once more for it.
    """
    pieces = (piece_and_last for d in corpus.documents(split) for piece_and_last in _pieces(d))
    sizes, missing = [np.zeros(0, np.int64)], windows.span
    while missing > 0 and (some := list(islice(pieces, 64))):
        encodings = tokenizer.encode_batch([piece for piece, _ in some], add_special_tokens=False)
        for encoding, (piece, last) in zip(encodings, some, strict=True):
            sizes += [bytes_behind(piece, encoding.offsets, len(encoding.ids)), np.zeros(int(last), np.int64)]
            missing -= len(encoding.ids) + last
    before_N = np.r_[0, np.cumsum(np.concatenate(sizes))]
    first_W = 1 + windows.stride * np.arange(len(windows))
    return int((before_N[first_W + windows.context] - before_N[first_W]).sum())


def _pieces(document: str, size: int = 200_000) -> Iterator[tuple[str, bool]]:
    """A very long document in pieces, and whether each is the last, so that no more is encoded than is asked for.

    It is cut before a space between two words, where a byte-level tokenizer begins a token anyhow.
    """
    start = 0
    while len(document) - start > size and (cut := re.compile(r"(?<=\S) (?=\S)").search(document, start + size)):
        yield document[start : cut.start()], False
        start = cut.start()
    yield document[start:], True


def _write(path: Path, pieces: Iterator[np.ndarray], limit: int) -> None:
    with path.open("wb") as out:
        for piece in pieces:
            piece[:limit].tofile(out)
            limit -= len(piece)
            if limit <= 0:
                return


@dataclass(frozen=True)
class PackedWindows:
    """A fixed, ordered set of windows over a packed stream."""

    tokens_N: np.ndarray
    context: int
    stride: int
    count: int

    @classmethod
    def over(
        cls, tokens_N: np.ndarray, context: int, stride: int | None = None, limit: int | None = None
    ) -> "PackedWindows":
        """All full windows of the stream, or the first ``limit`` of them."""
        stride = stride or context
        count = max((len(tokens_N) - context - 1) // stride + 1, 0)
        return cls(tokens_N, context, stride, min(count, limit) if limit else count)

    def __len__(self) -> int:
        return self.count

    def batch(self, windows: np.ndarray | range, offsets: np.ndarray | int = 0) -> Tensor:
        """The windows of these numbers as int64 of shape (B, S), each moved on by its offset in tokens.

        A window that is moved beyond the last token goes on at the first, so that every offset cuts the same text.
        """
        starts_B = np.asarray(windows, dtype=np.int64) * self.stride + offsets
        places_BS = (starts_B[:, None] + np.arange(self.context + 1)) % self.span
        return torch.from_numpy(self.tokens_N[places_BS].astype(np.int64))

    @property
    def span(self) -> int:
        """Tokens from the first window's start to the last one's end."""
        return (self.count - 1) * self.stride + self.context + 1 if self.count else 0

    def fingerprint(self) -> str:
        """A hash of the tokens covered and of how they are cut."""
        digest = hashlib.blake2b(f"{self.context}|{self.stride}|{self.count}".encode(), digest_size=12)
        digest.update(np.ascontiguousarray(self.tokens_N[: self.span]).tobytes())
        return digest.hexdigest()


@dataclass
class TrainingBatches:
    """The batches of a run from a given step on: a pure function of (seed, step), whatever was run before.

    Epoch after epoch each window once, in an order of its own; a batch may straddle two epochs, so that every step has
    the same number of tokens. With several processes each takes its slice of every batch. With ``random_offset`` the
    windows of an epoch are cut at places of its own: text that is cut alike in every epoch is memorised much faster.
    """

    windows: PackedWindows
    seed: int
    windows_per_step: int
    first_step: int = 0
    rank: int = 0
    processes: int = 1
    random_offset: bool = False

    def __iter__(self) -> Iterator[Tensor]:
        step, n = self.first_step, len(self.windows)
        order, offset, epoch = np.empty(0, np.int64), 0, -1
        while True:
            numbers = np.arange(step * self.windows_per_step, (step + 1) * self.windows_per_step)
            chosen, offsets = np.empty_like(numbers), np.empty_like(numbers)
            for i, number in enumerate(numbers):
                if number // n != epoch:
                    epoch = int(number // n)
                    order = epoch_order(self.seed, epoch, n)
                    offset = epoch_offset(self.seed, epoch, self.windows.context) if self.random_offset else 0
                chosen[i], offsets[i] = order[number % n], offset
            mine = slice(self.rank, None, self.processes)
            yield self.windows.batch(chosen[mine], offsets[mine])
            step += 1
