"""StoryGrammar: the embedded corpus whose entropy is known.

Short children's stories from a seeded probabilistic grammar (`storygrammar_plots`, `storygrammar_words`): who, where
and which object are introduced once and referred to later, so that context helps to predict. Every story has exactly
one derivation, so its probability is known and with it the loss that no model can beat.

- `StoryGrammar.stories`        deterministic, disjoint streams of stories
- `StoryGrammar.log_prob`       exact natural-log probability; `parse` gives the derivation or raises `NotInGrammar`
- `StoryGrammar.entropy`        the exact mean of −log_prob; `entropy_floor` is per token of a given set
- `StoryGrammar.contradict`     the same story with one later mention of a fact broken
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from random import Random

from trajlab.data.storygrammar.plots import RULES
from trajlab.data.storygrammar.template_grammar import Derivation, NotInGrammar, Reference, Row, TemplateGrammar
from trajlab.data.storygrammar.words import TABLES

__all__ = ["SPLITS", "VERSION", "Contradiction", "NotInGrammar", "StoryGrammar"]

VERSION = "1"
"""Part of every data fingerprint: any change of a rule, a table or the way of drawing gets a new one."""

SPLITS = {"train": 0.5, "valid": 0.25, "test": 0.25}
"""The streams, and the share of all stories that each owns."""


@dataclass(frozen=True)
class Contradiction:
    """A story with one mention of a persistent fact swapped for another of its kind."""

    text: str
    """The contradicting story."""
    broken: str
    """What was broken: 'name', 'object' or 'place'."""
    original: str
    """The word or words that stood there."""
    replacement: str
    """What stands there instead."""
    start: int
    """The first character of the changed mention, the same in both texts."""
    end: int
    """One past its last character in `text`; in the original it ends at start + len(original)."""


@cache
def _grammar() -> TemplateGrammar:
    return TemplateGrammar(RULES, TABLES, start="story")


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class StoryGrammar:
    """A version of the corpus; cheap to make. Raises ValueError for an unknown version."""

    version: str = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"StoryGrammar has version {VERSION!r}, not {self.version!r}")

    @property
    def grammar(self) -> TemplateGrammar:
        """The rules and tables behind it, for sub-grammars and proofs."""
        return _grammar()

    def owner(self, story: str) -> str:
        """The one split that may contain this text: a hash of the text alone decides, so splits can't overlap."""
        point = _digest(self.version, "owner", story)[0] / 256
        for split, share in SPLITS.items():
            if point < share:
                return split
            point -= share
        raise AssertionError("the shares of SPLITS sum to 1")

    def stories(self, split: str, n: int | None = None, start: int = 0) -> Iterator[str]:
        """Stories `start`, `start + 1`, … of a split: `n` of them, or without end.

        Story i is a pure function of (version, split, i): texts are drawn from the grammar until one is owned by the
        split, with no memory of earlier stories. Within a split stories are independent, each with probability
        p(story)/p(split), where p(split) is the split's share up to about √Σp², far below 1e-9.
        Raises ValueError for an unknown split.
        """
        if split not in SPLITS:
            raise ValueError(f"StoryGrammar has the splits {', '.join(SPLITS)}, not {split!r}")
        for index in count(start) if n is None else range(start, start + n):
            yield self._story(split, index)

    def _story(self, split: str, index: int) -> str:
        for attempt in count():
            story = self.grammar.draw(_digest(self.version, split, index, attempt))
            if self.owner(story) == split:
                return story
        raise AssertionError("count() does not end")

    def parse(self, story: str) -> Derivation:
        """The one derivation. Raises NotInGrammar with the position of the first character that does not fit."""
        return self.grammar.read(story)

    def log_prob(self, story: str) -> float:
        """ln p(story) under the grammar, of which the end of the story is a part. Raises NotInGrammar."""
        return self.parse(story).log_prob

    def entropy(self) -> float:
        """Exact mean of −log_prob, in nats per story."""
        return self.grammar.entropy()

    def entropy_floor(self, stories: Iterable[str], token_count: int) -> float:
        """−Σ log_prob / token_count: nats per token that no model can beat on these stories, up to sampling noise.

        `token_count` is what the tokenised stories occupy, one end-of-text token each included. A model's expected
        loss is this plus a Kullback–Leibler divergence; windows cut at arbitrary offsets take context away and only
        add to it. The hash that assigns stories to splits is ignored: a model that could invert it would gain at most
        ln(1/share) nats a story, one that learns from the stories of another split gains nothing
        (docs/storygrammar.md). Raises ValueError unless token_count is positive, NotInGrammar for a foreign text.
        """
        if token_count <= 0:
            raise ValueError(f"token_count must be positive, not {token_count}")
        return -math.fsum(map(self.log_prob, stories)) / token_count

    def contradict(self, story: str, seed: int = 0) -> Contradiction:
        """The story with one later mention of a name, object or place swapped for another of its kind.

        The kind is drawn first, then the mention, then the replacement with the odds of its table, among rows that
        agree with the original (he/she, in/at/on) and don't occur in the story: a function of (version, story, seed).
        The result has probability 0. Raises NotInGrammar for a foreign text, ValueError where nothing can be broken.
        """
        mentions = [r for r in self.parse(story).references if r.table.kind and not r.introduces and not r.form]
        chance = Random(_digest(self.version, "contradict", seed, story))
        while mentions:
            kind = chance.choice(sorted({r.table.kind for r in mentions}))
            mention = chance.choice([r for r in mentions if r.table.kind == kind])
            broken = self._break(story, mention, chance)
            if broken is not None:
                return broken
            mentions.remove(mention)
        raise ValueError("the story mentions no name, object or place a second time")

    def _break(self, story: str, mention: Reference, chance: Random) -> Contradiction | None:
        odds = {row.text: p for row, p in zip(mention.table.rows, mention.table.odds.p, strict=True)}
        rows = [row for row in mention.table.rows if _replaces(row, mention.row, story)]
        while rows:
            [row] = chance.choices(rows, [odds[row.text] for row in rows])
            text = story[: mention.start] + row.text + story[mention.end :]
            if not self._contains(text):
                end = mention.start + len(row.text)
                return Contradiction(text, mention.table.kind, mention.row.text, row.text, mention.start, end)
            rows.remove(row)
        return None

    def _contains(self, text: str) -> bool:
        try:
            self.parse(text)
        except NotInGrammar:
            return False
        return True


def _replaces(row: Row, original: Row, story: str) -> bool:
    """Whether the row agrees with the original and the story has not used it."""
    return row.agreement == original.agreement and re.search(rf"\b{re.escape(row.text)}\b", story) is None
