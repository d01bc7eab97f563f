"""The documents of a corpus in an order drawn from a seed, so that the first of them are a fair sample of all.

Corpora lie sorted by origin or by length: the head of a file is one source, not the corpus. The order depends on the
seed and on each document's number alone, so every run of a study takes the same documents, whatever its budget: a
smaller set is the beginning of a larger one.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajlab.config.groups import DataConfig
from trajlab.data import corpora
from trajlab.data.corpora import Corpus

CHUNK_BYTES = 256 << 20
"""Text held in memory at a time. The corpus is read once for its lengths and once more for each chunk that is taken."""


@dataclass
class SampledCorpus:
    """Another corpus, its documents in a seeded order."""

    corpus: Corpus
    seed: int
    chunk_bytes: int = CHUNK_BYTES

    shuffled = True

    @property
    def name(self) -> str:
        """The corpus' own."""
        return self.corpus.name

    @property
    def warning(self) -> str | None:
        """The corpus' own."""
        return self.corpus.warning

    def identity(self) -> str:
        """The corpus and the seed fix the order."""
        return f"{self.corpus.identity()}|sampled {self.seed}"

    def documents(self, split: str) -> Iterator[str]:
        """Every document once."""
        lengths_D = np.array([len(d.encode()) for d in self.corpus.documents(split)], dtype=np.int64)
        order_D = self._order(len(lengths_D))
        chunk_D = np.cumsum(lengths_D[order_D]) // self.chunk_bytes
        for chunk in np.unique(chunk_D):
            numbers = order_D[chunk_D == chunk]
            wanted = set(numbers.tolist())
            held = {i: d for i, d in enumerate(self.corpus.documents(split)) if i in wanted}
            for number in numbers.tolist():
                yield held.pop(number)

    def _order(self, count: int) -> np.ndarray:
        """A permutation that is the same on every machine and with every version of NumPy."""
        keys = [hashlib.blake2b(f"{self.seed}:{i}".encode(), digest_size=8).digest() for i in range(count)]
        return np.argsort(np.array([int.from_bytes(k, "big") for k in keys], dtype=np.uint64), kind="stable")


def sampled(corpus: Corpus, seed: int | None) -> Corpus:
    """The corpus in the order that the seed draws; as it is without a seed, or where its order is random already."""
    return corpus if seed is None or corpus.shuffled else SampledCorpus(corpus, seed)


def resolve(data: DataConfig, source: str | Mapping[str, Any] | None = None) -> Corpus:
    """The corpus that ``data.source`` (or another ``source``) names, in the order of ``data.sample_seed``."""
    corpus = corpora.resolve(
        source or data.source,
        data.repo,
        Path(data.cache_dir).expanduser(),
        validation_fraction=data.validation_fraction,
        timeout=data.hub_timeout,
        sample_seed=data.sample_seed,
    )
    return sampled(corpus, data.sample_seed)
