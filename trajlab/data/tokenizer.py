"""Byte-level tokenizers: a BPE trained on the training split alone, the bytes as they are, or a tokenizer.json."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from trajlab.config.groups import TokenizerConfig
from trajlab.data.text_files import END_OF_TEXT
from trajlab.errors import UserError
from trajlab.files import publish

if TYPE_CHECKING:  # a refusal is told from this module: what it doesn't need isn't imported for it
    import numpy as np

    from trajlab.data.corpora import Corpus

__all__ = [
    "byte_tokenizer",
    "bytes_behind",
    "end_of_text_id",
    "fingerprint",
    "load",
    "opened",
    "problems",
    "token_bytes",
    "train_bpe",
]


def opened(config: TokenizerConfig, corpus: "Corpus", cache_dir: Path) -> Tokenizer:
    """The tokenizer that a configuration asks for. Raises UserError where it can't be had."""
    if config.path:
        return load(config.path)
    if config.kind == "bytes":
        return byte_tokenizer()
    return train_bpe(corpus, config.vocab_size, config.train_bytes, cache_dir)


def problems(config: TokenizerConfig) -> list[str]:
    """What is wrong with a configured tokenizer, found before any text is read."""
    if not config.path:
        return []
    try:
        entries = load(config.path).get_vocab_size()
    except UserError as e:
        return [str(e)]
    if entries > config.vocab_size:
        return [
            f"tokenizer.vocab_size={config.vocab_size}, but tokenizer.path={config.path} has {entries:,} entries; "
            f"write tokenizer.vocab_size={entries}"
        ]
    return []


def byte_tokenizer() -> Tokenizer:
    """Id 0 ends a text, ids 1 to 256 are the bytes: no training, no text that it can't hold."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = {END_OF_TEXT: 0, **{character: i for i, character in enumerate(alphabet, 1)}}
    tokenizer = _byte_level(models.BPE(vocab=entries, merges=[]))
    tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


def _byte_level(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_bpe(corpus: "Corpus", vocab_size: int, train_bytes: int, cache_dir: Path) -> Tokenizer:
    """A tokenizer of ``vocab_size`` entries from the first ``train_bytes`` of the training split, or the cached one.

    Id 0 is the end of a text. Raises UserError for an empty split and where the text holds too few different pairs.
    """
    if vocab_size < 257:
        raise UserError(
            f"tokenizer.vocab_size={vocab_size}: a byte-level BPE needs at least 257 (256 bytes, end of text)"
        )
    key = hashlib.blake2b(f"bpe|{corpus.identity()}|{vocab_size}|{train_bytes}".encode(), digest_size=12).hexdigest()
    path = cache_dir / "tokenizers" / f"{key}.json"
    if path.exists():
        return load(path)
    tokenizer = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_head(corpus, train_bytes), trainer)
    publish(path, lambda temporary: tokenizer.save(str(temporary)))
    return tokenizer


def load(path: Path | str) -> Tokenizer:
    """A tokenizer.json. Raises UserError where there is none or where it has no end-of-text token."""
    if not Path(path).is_file():
        raise UserError(f"tokenizer.path={path}: no such file; give a tokenizer.json, or null to train one")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as e:  # the library raises Exception itself for whatever is wrong with the file
        raise UserError(f"tokenizer.path={path} is no tokenizer.json ({e})") from e
    end_of_text_id(tokenizer)
    return tokenizer


def end_of_text_id(tokenizer: Tokenizer) -> int:
    """The id that ends a document."""
    for token in (END_OF_TEXT, "</s>", "<eos>"):
        if (found := tokenizer.token_to_id(token)) is not None:
            return found
    raise UserError(f"the tokenizer has no end-of-text token ({END_OF_TEXT}, </s> or <eos>)")


def fingerprint(tokenizer: Tokenizer) -> str:
    """A hash of everything that decides how text is cut."""
    return hashlib.blake2b(tokenizer.to_str().encode(), digest_size=12).hexdigest()


def token_bytes(tokenizer: Tokenizer) -> "np.ndarray | None":
    """Bytes of text that each id stands for (int64, length V), special tokens none; null where an id alone doesn't tell.

    Byte-level vocabularies, and those with a sign for the space or with bytes for what they lack, have such a table. Where
    text is changed before it is cut, spaces are dropped or one is put in front, there is none: each of `PROBES` must come out
    at its length.
    """
    for bytes_of in (len, _decoded_length):  # in a byte-level vocabulary each character of an entry is one byte
        table_V = _table(tokenizer, bytes_of)
        encoded = [tokenizer.encode(text, add_special_tokens=False).ids for text in PROBES]
        if all(table_V[ids].sum() == len(text.encode()) for text, ids in zip(PROBES, encoded, strict=True)):
            return table_V
    return None


PROBES = (
    "The cat saw a dog.",
    "two  spaces,\n\tlines and tabs ",
    " a space in front",
    "UPPER lower Mixed 1,234.5 don't",
    "Zoë’s naïve 猫 ﬁ ½ ① e\u0301 Å\u212b 🐕🏽",
    "x",
    "\u00a0\u2003\u200b",
)
"""What tokenizers change or drop: spaces of all kinds, capitals, composed and compatible characters, rare ones."""


def _table(tokenizer: Tokenizer, bytes_of: Callable[[str], int]) -> "np.ndarray":
    import numpy as np

    added = tokenizer.get_added_tokens_decoder()
    table_V = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for i in range(len(table_V)):
        if i in added:  # stands in the text as it is written
            table_V[i] = 0 if added[i].special else len(added[i].content.encode())
        else:
            table_V[i] = bytes_of(tokenizer.id_to_token(i) or "")
    return table_V


def _decoded_length(entry: str) -> int:
    """An entry of SentencePiece's kind: ``▁`` is a space, ``<0xE7>`` one byte."""
    if re.fullmatch("<0x[0-9A-Fa-f]{2}>", entry):
        return 1
    return len(entry.replace("▁", " ").encode())


def bytes_behind(text: str, offsets: Sequence[tuple[int, int]] | None, count: int) -> "np.ndarray":
    """UTF-8 bytes of each of ``count`` tokens of ``text`` (int64). A character that several share counts at the first that reaches it.

    Text between two tokens, dropped by the tokenizer, counts at the later one, so that all bytes are counted once. Without
    offsets (slow tokenizers) all stand at the last token, which leaves sums over whole texts exact.
    """
    import numpy as np

    sizes = np.zeros(count, np.int64)
    if not count:
        return sizes
    reached = 0
    for i, (_, end) in enumerate(offsets or ()):
        if end > reached:
            sizes[i] = len(text[reached:end].encode())
            reached = end
    sizes[-1] += len(text[reached:].encode())
    return sizes


def _head(corpus: "Corpus", limit_bytes: int) -> Iterator[str]:
    documents = corpus.documents("train")
    first = next(documents, None)
    if first is None:
        raise UserError(
            f"the training split of {corpus.name} is empty; set data.source to a corpus with documents. A .txt is one document "
            f"where no {END_OF_TEXT} divides it, and whole documents are held out for validation: put that between its parts"
        )
    seen = 0
    for document in chain([first], documents):
        yield document[: max(limit_bytes, 1)]  # a document may be longer than all that is asked for
        seen += len(document.encode())
        if seen >= limit_bytes:
            return
