"""From a configuration to tokens ready to train on: corpus, tokenizer, training windows, validation splits.

`prepare` does it all, once for each configuration: what it makes is cached by content.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from trajlab.config.groups import DataConfig, TokenizerConfig, ValidationConfig
from trajlab.data import packed, sampling, tokenizer
from trajlab.data.corpora import Corpus, EmbeddedCorpus
from trajlab.data.packed import PackedWindows
from trajlab.errors import UserError

PREPARED_TOKENS = 1_000_000
"""Training tokens that are packed where neither data.unique_tokens nor a budget says how many."""


@dataclass(frozen=True)
class PreparedData:
    """Everything about the data that a run needs or that is stored with it."""

    tokenizer: Tokenizer
    train: PackedWindows
    splits: Mapping[str, PackedWindows]
    """Validation windows by split."""
    source: str
    """The corpus that was used, after resolution."""
    warning: str | None
    """Why it is not the one that was asked for."""
    entropy_floor: Mapping[str, float] = field(default_factory=dict)
    """By split, nats per token that no model can beat; only where the corpus' probabilities are known."""
    split_bytes: Mapping[str, int] = field(default_factory=dict)
    """By split, bytes of text behind all targets; only where ``token_bytes_V`` doesn't tell."""

    @property
    def fingerprint(self) -> str:
        """A hash of every training and validation token and of the tokenizer."""
        parts = [tokenizer.fingerprint(self.tokenizer), self.train.fingerprint()]
        parts += [f"{name}={windows.fingerprint()}" for name, windows in self.splits.items()]
        return hashlib.blake2b("|".join(parts).encode(), digest_size=12).hexdigest()

    @property
    def unique_tokens(self) -> int:
        """Different training tokens that the run sees in one epoch."""
        return len(self.train) * self.train.context

    @property
    def token_bytes_V(self) -> np.ndarray | None:
        """Bytes of text behind each id; None where the tokenizer's ids don't tell."""
        return tokenizer.token_bytes(self.tokenizer)


def prepare(data: DataConfig, bpe: TokenizerConfig, budget_tokens: int = PREPARED_TOKENS) -> PreparedData:
    """Resolve, tokenise, pack and cut. Raises UserError where the corpus is missing, empty or too short."""
    cache = Path(data.cache_dir).expanduser()
    corpus = sampling.resolve(data)
    encoder = tokenizer.opened(bpe, corpus, cache)
    wanted = data.unique_tokens or budget_tokens  # more than the budget: a short run in a long one's order
    tokens = packed.pack(corpus, "train", encoder, wanted + 1, cache)
    train = PackedWindows.over(tokens, data.context)
    if not len(train):
        raise UserError(
            f"data.source={data.source}: the training split of {corpus.name} has {len(tokens):,} tokens, "
            f"fewer than one window of data.context={data.context} and its target; give a longer text"
        )
    if len(tokens) <= wanted:
        asked = f"{data.unique_tokens:,}" if data.unique_tokens else f"null (fresh tokens for all {wanted:,})"
        raise UserError(
            f"data.unique_tokens={asked}: {corpus.name} has only {len(tokens) - 1:,} training tokens; "
            f"write data.unique_tokens={len(tokens) - 1} to go over them again and again, or give a longer text"
        )
    splits, floors, sizes = {}, {}, {}
    told = tokenizer.token_bytes(encoder) is not None
    for name, config in data.validation.items():
        own = sampling.resolve(data, config.source) if config.source is not None else corpus
        splits[name], floor = _validation(name, config, own, encoder, data, cache)
        if floor is not None:
            floors[name] = floor
        if not told:
            sizes[name] = packed.byte_count(own, "validation", encoder, splits[name])
    return PreparedData(encoder, train, splits, corpus.name, corpus.warning, floors, sizes)


def _validation(
    name: str, config: ValidationConfig, corpus: Corpus, encoder: Tokenizer, data: DataConfig, cache: Path
) -> tuple[PackedWindows, float | None]:
    stride = config.stride or data.context
    limit = (config.windows - 1) * stride + data.context + 1
    tokens = packed.pack(corpus, "validation", encoder, limit, cache)
    windows = PackedWindows.over(tokens, data.context, stride, config.windows)
    if not len(windows):
        raise UserError(
            f"data.validation.{name}: {corpus.name} has {len(tokens):,} validation tokens, fewer than one window of "
            f"data.context={data.context} and its target. Whole documents are held out, about "
            f"{data.validation_fraction:.0%} of them, and a .txt is one document where no <|endoftext|> divides it: put that "
            "between its parts, raise data.validation_fraction, or give a folder with train.* and valid.*"
        )
    return windows, _entropy_floor(corpus, np.asarray(tokens[: windows.span]), encoder)


def _entropy_floor(corpus: Corpus, tokens_N: np.ndarray, encoder: Tokenizer) -> float | None:
    """The floor over the documents that the windows reach into, each taken whole; None without known probabilities."""
    if not isinstance(corpus, EmbeddedCorpus):
        return None
    end = tokenizer.end_of_text_id(encoder)
    whole = int(np.count_nonzero(tokens_N == end))
    stories = list(corpus.grammar.stories("valid", whole + (tokens_N[-1] != end)))
    token_count = sum(len(e.ids) + 1 for e in encoder.encode_batch_fast(stories, add_special_tokens=False))
    return corpus.grammar.entropy_floor(stories, token_count)
