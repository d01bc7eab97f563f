"""What kind of tokens go which way: by frequency, by position, by place in a word."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trajlab.analysis.token_trends.classes import TRENDS

VALIDATION_FREQUENCY = "frequency among validation targets"
"""What column `frequency` of table `probes` counts: the training text was never counted."""
_MARKS = "Ġ▁Ċĉč \n\t\r"  # what stands for white space in tokenizers' pieces


def part_of_word(piece: str) -> str:
    """Where in a word a tokenizer's piece stands: word start, continuation, number, punctuation, space or special.

    Reads the marks of byte-level BPE (``Ġ``, ``Ċ``), SentencePiece (``▁``) and WordPiece (``##``), or a plain space. A word
    at the very start of a text has no mark in byte-level BPE and counts as a continuation.
    """
    if piece.startswith("<") and piece.endswith(">") and len(piece) > 2:
        return "special"
    bare = piece.removeprefix("##").lstrip(_MARKS)
    if not bare:
        return "space"
    if bare[0].isdigit():
        return "number"
    if not any(c.isalpha() for c in bare):
        return "punctuation"
    return "word start" if piece[0] in "Ġ▁ " else "continuation"


def token_kinds(trend: pd.Series | ArrayLike, probes: pd.DataFrame, bins: int = 5) -> pd.DataFrame:
    """Which kinds of tokens go which way: a row per property × level × trend.

    ``probes`` has a row per token, in the order of ``trend``, with any of ``frequency`` (occurrences of the
    id among the validation split's counted targets) and ``position`` (in the context), both cut at quantiles into ``bins``, and ``token`` (the tokenizer's piece), read by
    `part_of_word`. Columns: property, level, trend, count, share (within the level), lift (share ÷ the trend's overall
    share). Raises ValueError where rows don't match or no property is there.
    """
    kinds = pd.Series(np.asarray(trend)).astype(str)
    if len(kinds) != len(probes):
        raise ValueError(f"{len(kinds)} trends for {len(probes)} probe tokens: they must be the same tokens in order")
    levels = _levels(probes.reset_index(drop=True), bins)
    if not levels:
        raise ValueError(f"probes has columns {list(probes)}: expected any of frequency, position, token")
    overall = kinds.value_counts(normalize=True)
    rows = []
    for name, level in levels.items():
        for value, group in kinds.groupby(level, observed=True, sort=True):
            for kind in TRENDS:
                count = int((group == kind).sum())
                share = count / len(group)
                lift = share / overall[kind] if kind in overall else np.nan
                rows.append((name, str(value), kind, count, share, lift))
    return pd.DataFrame(rows, columns=["property", "level", "trend", "count", "share", "lift"])


def _levels(probes: pd.DataFrame, bins: int) -> dict[str, pd.Series]:
    names = {"frequency": VALIDATION_FREQUENCY, "position": "position"}
    levels = {words: pd.qcut(probes[name], bins, duplicates="drop") for name, words in names.items() if name in probes}
    if "token" in probes and probes["token"].notna().all():
        levels["part of word"] = probes["token"].map(part_of_word)
    return levels
