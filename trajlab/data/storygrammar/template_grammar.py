"""Template grammars: one description of a language from which texts are written, read back and weighed.

A grammar is a set of **rules** and a set of **tables**. A rule has alternatives, each a template: plain text with

- ``<rule>``                      a choice among the alternatives of another rule,
- ``[table]``, ``[table.form]``   a row drawn from a table, written in its plain or another form,
- ``[name=table.form]``           the same, and the row is remembered under this name,
- ``{name}``, ``{name.form}``     a mention of a remembered row: no choice, the fact persists.

``TemplateGrammar`` writes (`write`), reads (`read`), enumerates (`enumerate`) and measures (`entropy`) with the same
four classes of parts: `Literal`, `Mention`, `Draw`, `Choose`. Rules may not contain themselves, so everything is
finite.

Probabilities are integer shares of 2**32, so that drawing 32 random bits realises them exactly.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

SHARES = 1 << 32
"""How many shares make a probability of one."""

_STEEP, _FLAT = 2.0, 12.0
"""Shifts of Zipf's law for the rows of a table and for the templates of a rule."""

_SYNTAX = re.compile(
    r"\{(?P<mention>\w+)(?:\.(?P<mention_form>\w+))?\}"
    r"|\[(?:(?P<variable>\w+)=)?(?P<table>\w+)(?:\.(?P<form>\w+))?\]"
    r"|<(?P<rule>\w+)>"
)


class NotInGrammar(ValueError):
    """The text has no derivation; `position` is the first character that no derivation of what precedes it allows."""

    def __init__(self, position: int) -> None:
        super().__init__(f"no derivation from character {position} on")
        self.position = position


class Odds:
    """A distribution over 0 … n−1 in integer shares of 2**32, by largest remainder; every share is at least 1."""

    def __init__(self, weights: Sequence[float]) -> None:
        spare, total = SHARES - len(weights), math.fsum(weights)
        exact = [weight / total * spare for weight in weights]
        shares = [1 + int(share) for share in exact]
        by_remainder = sorted(range(len(exact)), key=lambda i: (int(exact[i]) - exact[i], i))
        for i in by_remainder[: SHARES - sum(shares)]:
            shares[i] += 1
        self.cumulative = tuple(accumulate(shares))
        self.log_p = tuple(math.log(share / SHARES) for share in shares)
        self.p = tuple(share / SHARES for share in shares)

    def __len__(self) -> int:
        return len(self.p)

    @cached_property
    def entropy(self) -> float:
        """In nats."""
        return -math.fsum(p * log_p for p, log_p in zip(self.p, self.log_p, strict=True))


def zipf(count: int, shift: float) -> list[float]:
    """Weights 1/(rank + shift) of the Zipf–Mandelbrot law: the larger the shift, the flatter."""
    return [1.0 / (rank + shift) for rank in range(1, count + 1)]


@dataclass(frozen=True, eq=False)
class Row:
    """One entry of a table: its plain text, its other forms by name, and what a word put in its place must share."""

    text: str
    forms: Mapping[str, str] = field(default_factory=dict)
    agreement: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows in the order of their frequency, which falls by Zipf's law; `kind` names the fact that a row stands for."""

    name: str
    rows: tuple[Row, ...]
    kind: str = ""

    @cached_property
    def odds(self) -> Odds:
        """Zipf–Mandelbrot: the first of a hundred rows is drawn about 8 % of the time."""
        return Odds(zipf(len(self.rows), _STEEP))


@dataclass(frozen=True)
class Choice:
    """One step of a derivation: which rule or table, which of its alternatives or rows, where in the text, ln p."""

    symbol: str
    pick: int
    start: int
    log_p: float


@dataclass(frozen=True)
class Reference:
    """A word of the text that stands for a remembered row: text[start:end]; `introduces` where the row was drawn."""

    variable: str
    table: Table
    row: Row
    form: str
    start: int
    end: int
    introduces: bool


@dataclass(frozen=True)
class Derivation:
    """The choices that make a text, in the order of the text, and the references to its facts."""

    choices: tuple[Choice, ...]
    references: tuple[Reference, ...]

    @property
    def log_prob(self) -> float:
        """Natural logarithm of the probability of the text."""
        return math.fsum(choice.log_p for choice in self.choices)

    @property
    def picks(self) -> tuple[int, ...]:
        """What `TemplateGrammar.write` needs to write the text again."""
        return tuple(choice.pick for choice in self.choices)


Pick = Callable[[Odds], int]


class _Writing:
    """A text under construction: pieces, remembered rows and the source of choices."""

    __slots__ = ("bound", "pick", "pieces")

    def __init__(self, pick: Pick) -> None:
        self.pieces: list[str] = []
        self.bound: dict[str, Row] = {}
        self.pick = pick


class _Reading:
    """A text under analysis: remembered rows, the trace of the derivation, and how far any attempt came."""

    __slots__ = ("bound", "choices", "furthest", "references", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.bound: dict[str, tuple[Table, Row]] = {}
        self.choices: list[Choice] = []
        self.references: list[Reference] = []
        self.furthest = 0

    def expect(self, wanted: str, start: int) -> int:
        """The position after `wanted`, or −1; notes how far the text agrees."""
        if self.text.startswith(wanted, start):
            return start + len(wanted)
        agree = start
        for letter, want in zip(self.text[start : start + len(wanted)], wanted, strict=False):
            if letter != want:
                break
            agree += 1
        self.furthest = max(self.furthest, agree)
        return -1


@dataclass(frozen=True)
class Literal:
    """Plain text."""

    text: str

    def write(self, writing: _Writing) -> None:
        """Append the text."""
        writing.pieces.append(self.text)

    def read(self, reading: _Reading, start: int) -> int:
        """The position after it, or −1."""
        return reading.expect(self.text, start)


@dataclass(frozen=True)
class Mention:
    """A remembered row in one of its forms: carries no choice."""

    variable: str
    form: str

    def write(self, writing: _Writing) -> None:
        """Append the row's form."""
        writing.pieces.append(writing.bound[self.variable].forms[self.form])

    def read(self, reading: _Reading, start: int) -> int:
        """The position after it, or −1."""
        table, row = reading.bound[self.variable]
        end = reading.expect(row.forms[self.form], start)
        if end >= 0:
            reading.references.append(Reference(self.variable, table, row, self.form, start, end, introduces=False))
        return end


@dataclass(frozen=True)
class Draw:
    """A row of a table in one of its forms, remembered if `variable` is not empty."""

    variable: str
    table: Table
    form: str

    def write(self, writing: _Writing) -> None:
        """Pick a row and append its form."""
        row = self.table.rows[writing.pick(self.table.odds)]
        if self.variable:
            writing.bound[self.variable] = row
        writing.pieces.append(row.forms[self.form])

    def read(self, reading: _Reading, start: int) -> int:
        """The position after the row that stands here, or −1."""
        match = self._pattern.match(reading.text, start)
        if match is None:
            reading.furthest = max(reading.furthest, start)
            return -1
        pick = self._rank[match.group()]
        reading.choices.append(Choice(self.table.name, pick, start, self.table.odds.log_p[pick]))
        if self.variable:
            row = self.table.rows[pick]
            reading.bound[self.variable] = (self.table, row)
            reading.references.append(
                Reference(self.variable, self.table, row, self.form, start, match.end(), introduces=True)
            )
        return match.end()

    @cached_property
    def _rank(self) -> dict[str, int]:
        return {row.forms[self.form]: pick for pick, row in enumerate(self.table.rows)}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("(?:" + "|".join(map(re.escape, self._rank)) + r")(?!\w)")


class Choose:
    """A choice among the templates of a rule."""

    def __init__(self, name: str, templates: Sequence[tuple[Part, ...]], odds: Odds) -> None:
        self.name = name
        self.templates = tuple(templates)
        self.odds = odds

    def write(self, writing: _Writing) -> None:
        """Pick a template and append its parts."""
        for part in self.templates[writing.pick(self.odds)]:
            part.write(writing)

    def read(self, reading: _Reading, start: int) -> int:
        """The position after the one template that fits, or −1.

        The first that fits is the only one: `template_proofs.ambiguities` proves it for a grammar.
        """
        choices, references = len(reading.choices), len(reading.references)
        for pick, template in enumerate(self.templates):
            reading.choices.append(Choice(self.name, pick, start, self.odds.log_p[pick]))
            end = _read_parts(template, reading, start)
            if end >= 0:
                return end
            del reading.choices[choices:], reading.references[references:]
        return -1


Part = Literal | Mention | Draw | Choose


def _read_parts(parts: Sequence[Part], reading: _Reading, start: int) -> int:
    for part in parts:
        start = part.read(reading, start)
        if start < 0:
            return -1
    return start


class TemplateGrammar:
    """The texts that can be made from the rule `start`, with their probabilities.

    `rules` maps a name to its templates, in the order of their frequency. Raises ValueError for an unknown rule, table
    or form and for a rule that contains itself.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]], tables: Sequence[Table], start: str) -> None:
        self.rules = rules
        self.tables = {table.name: table for table in tables}
        self._chooses: dict[str, Choose] = {}
        self._open: list[str] = []
        self.start = self._choose(start)
        self.most_choices = _most_choices(self.start)

    def _choose(self, name: str) -> Choose:
        if name in self._open:
            raise ValueError(f"rule {name!r} contains itself: {' > '.join([*self._open, name])}")
        if name not in self._chooses:
            self._open.append(name)
            templates = [tuple(self._parts(template)) for template in self.rules[name]]
            self._chooses[name] = Choose(name, templates, Odds(zipf(len(templates), _FLAT)))
            self._open.pop()
        return self._chooses[name]

    def _parts(self, template: str) -> Iterator[Part]:
        end = 0
        for match in _SYNTAX.finditer(template):
            if match.start() > end:
                yield Literal(template[end : match.start()])
            end = match.end()
            yield self._part(match, template)
        if end < len(template):
            yield Literal(template[end:])

    def _part(self, match: re.Match[str], template: str) -> Part:
        if match["mention"]:
            return Mention(match["mention"], match["mention_form"] or "")
        if match["table"]:
            table, form = self.tables.get(match["table"]), match["form"] or ""
            if table is None or any(form not in row.forms for row in table.rows):
                raise ValueError(
                    f"{match.group()} names no table, or a form that not all of its rows have: {template!r}"
                )
            return Draw(match["variable"] or "", table, form)
        if match["rule"] not in self.rules:
            raise ValueError(f"{match.group()} names no rule: {template!r}")
        return self._choose(match["rule"])

    def write(self, pick: Pick) -> str:
        """The text that these choices make; `pick` is called once a choice with its odds and returns an index."""
        writing = _Writing(pick)
        self.start.write(writing)
        return "".join(writing.pieces)

    def draw(self, seed: bytes) -> str:
        """A text drawn at random, a pure function of `seed`: the bits are those of SHAKE-128."""
        bits = hashlib.shake_128(seed).digest(4 * self.most_choices)
        numbers = iter(struct.unpack(f"<{self.most_choices}I", bits))
        return self.write(lambda odds: bisect_right(odds.cumulative, next(numbers)))

    def read(self, text: str) -> Derivation:
        """The derivation of a text. Raises NotInGrammar with the position up to which one exists."""
        reading = _Reading(text)
        end = self.start.read(reading, 0)
        if end < 0:
            raise NotInGrammar(reading.furthest)
        if end < len(text):
            raise NotInGrammar(max(end, reading.furthest))
        return Derivation(tuple(reading.choices), tuple(reading.references))

    def enumerate(self) -> Iterator[tuple[str, float]]:
        """Every derivation's text and ln p: an odometer over the choices, for small grammars only."""
        picks: list[int] = []
        while True:
            sizes: list[int] = []
            log_p: list[float] = []

            def pick(odds: Odds, sizes: list[int] = sizes, log_p: list[float] = log_p) -> int:
                if len(sizes) == len(picks):
                    picks.append(0)
                choice = picks[len(sizes)]
                sizes.append(len(odds))
                log_p.append(odds.log_p[choice])
                return choice

            yield self.write(pick), math.fsum(log_p)
            while picks and picks[-1] + 1 == sizes[len(picks) - 1]:
                picks.pop()
            if not picks:
                return
            picks[-1] += 1

    def restrict(self, start: str, rows: int, templates: int) -> TemplateGrammar:
        """The sub-grammar from rule `start` with the first few rows of each table and templates of each rule."""
        rules = {name: choices[:templates] for name, choices in self.rules.items()}
        tables = [Table(table.name, table.rows[:rows], table.kind) for table in self.tables.values()]
        return TemplateGrammar(rules, tables, start)

    def entropy(self) -> float:
        """Exact entropy of a text, in nats: H(choice) + Σ p·H(what the choice leads to), rule by rule.

        It counts derivations, which are texts as long as each text has one.
        """
        return _entropy(self.start)


def _most_choices(part: Part) -> int:
    if isinstance(part, Choose):
        return 1 + max(sum(map(_most_choices, template)) for template in part.templates)
    return int(isinstance(part, Draw))


def _entropy(part: Part) -> float:
    if isinstance(part, Choose):
        beyond = [p * math.fsum(map(_entropy, parts)) for p, parts in zip(part.odds.p, part.templates, strict=True)]
        return part.odds.entropy + math.fsum(beyond)
    return part.table.odds.entropy if isinstance(part, Draw) else 0.0
