"""What can be proved of a template grammar from its rules and tables alone, without writing a text.

- `ambiguities`: nothing in it means that every text has one derivation, found from left to right without going back.
- `unbound_mentions`: nothing in it means that every fact is introduced before it is mentioned.
- `word_bounds`: the fewest and the most words of a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, pairwise

from trajlab.data.storygrammar.template_grammar import (
    Choose,
    Draw,
    Literal,
    Mention,
    Part,
    Table,
    TemplateGrammar,
)

_SPACE = re.compile(r"\s+")


def rules_of(grammar: TemplateGrammar) -> list[Choose]:
    """Every rule that `grammar.start` reaches, once."""
    found: dict[str, Choose] = {}

    def visit(rule: Choose) -> None:
        if rule.name not in found:
            found[rule.name] = rule
            for template in rule.templates:
                for part in template:
                    if isinstance(part, Choose):
                        visit(part)

    visit(grammar.start)
    return list(found.values())


def tables_of_variables(grammar: TemplateGrammar) -> dict[str, set[Table]]:
    """The tables from which each remembered name may have been drawn."""
    tables: dict[str, set[Table]] = {}
    for rule in rules_of(grammar):
        for template in rule.templates:
            for part in template:
                if isinstance(part, Draw) and part.variable:
                    tables.setdefault(part.variable, set()).add(part.table)
    return tables


# --- one derivation ---------------------------------------------------------------------------------------------------


def ambiguities(grammar: TemplateGrammar) -> list[str]:
    """Where two choices could explain the same text, in words; empty if every text has exactly one derivation.

    The proof is by induction from left to right. A **draw** is determined by the text if a word ends after it and no
    row's form continues another's after the end of a word. A **rule** is determined if any two of its templates agree
    part for part up to a place where the texts that can follow differ: then at most one of them fits any text.
    """
    proof = _Uniqueness(grammar)
    return list(proof.ambiguous_draws()) + list(proof.ambiguous_rules())


class _Uniqueness:
    """The comparisons behind `ambiguities`."""

    def __init__(self, grammar: TemplateGrammar) -> None:
        self.rules = rules_of(grammar)
        self.tables = tables_of_variables(grammar)

    def ambiguous_draws(self) -> Iterator[str]:
        for rule in self.rules:
            for template in rule.templates:
                for part, after in pairwise(template):
                    if _ends_in_draw(part) and not (isinstance(after, Literal) and not after.text[0].isalnum()):
                        yield f"<{rule.name}>: no end of word before {after}"
                for part in template:
                    if isinstance(part, Draw):
                        for one, other in _continued(row.forms[part.form] for row in part.table.rows):
                            yield f"[{part.table.name}.{part.form}]: {one!r} and {other!r}"

    def ambiguous_rules(self) -> Iterator[str]:
        for rule in self.rules:
            for one, other in combinations(range(len(rule.templates)), 2):
                if not self.differ(rule.templates[one], rule.templates[other]):
                    yield f"<{rule.name}>: templates {one} and {other}"

    def differ(self, one: Sequence[Part], other: Sequence[Part]) -> bool:
        """Whether no text can begin as `one` and as `other`, and neither can end before the difference."""
        while one and other:
            one, other = _without_trivial_rule(one), _without_trivial_rule(other)
            if isinstance(one[0], Literal) and isinstance(other[0], Literal):
                shared = min(len(one[0].text), len(other[0].text))
                if one[0].text[:shared] != other[0].text[:shared]:
                    return True
                one, other = _after(one, shared), _after(other, shared)
            elif one[0] == other[0]:
                one, other = one[1:], other[1:]
            else:
                firsts = [(a, b) for a in self.first(one) for b in self.first(other)]
                return not any(_compatible(a, b) for a, b in firsts)
        return False

    def first(self, parts: Sequence[Part]) -> set[tuple[str, bool]]:
        """What a text of these parts can begin with; True where a word is known to end there."""
        part, rest = parts[0], parts[1:]
        if isinstance(part, Literal):
            return {(part.text, False)}
        if isinstance(part, Choose):
            return set().union(*(self.first([*template, *rest]) for template in part.templates))
        ends = isinstance(part, Draw) or bool(rest and isinstance(rest[0], Literal) and not rest[0].text[0].isalnum())
        tables = self.tables[part.variable] if isinstance(part, Mention) else {part.table}
        return {(row.forms[part.form], ends) for table in tables for row in table.rows}


def _ends_in_draw(part: Part) -> bool:
    if isinstance(part, Choose):
        return any(_ends_in_draw(template[-1]) for template in part.templates)
    return isinstance(part, Draw)


def _without_trivial_rule(parts: Sequence[Part]) -> list[Part]:
    """The parts, with a rule that stands first and has one template replaced by it."""
    first = parts[0]
    if isinstance(first, Choose) and len(first.templates) == 1:
        return _without_trivial_rule([*first.templates[0], *parts[1:]])
    return list(parts)


def _after(parts: Sequence[Part], count: int) -> Sequence[Part]:
    """The parts without the first `count` characters of the literal that they begin with."""
    first = parts[0]
    assert isinstance(first, Literal)
    return [Literal(first.text[count:]), *parts[1:]] if count < len(first.text) else parts[1:]


def _compatible(one: tuple[str, bool], other: tuple[str, bool]) -> bool:
    """Whether a text can begin with both."""
    (short, ends), (long, _) = sorted((one, other), key=lambda first: len(first[0]))
    if not long.startswith(short):
        return False
    return len(long) == len(short) or not ends or not long[len(short)].isalnum()


def _continued(forms: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of forms that are equal, or where the second goes on after the first has ended a word."""
    ordered = sorted(forms)
    for one, other in combinations(ordered, 2):
        if _compatible((one, True), (other, True)):
            yield one, other


# --- facts ------------------------------------------------------------------------------------------------------------


def unbound_mentions(grammar: TemplateGrammar) -> list[str]:
    """Mentions of a name that may not have been introduced yet, or has no such form in one of its tables."""
    problems: list[str] = []
    tables = tables_of_variables(grammar)

    def visit(rule: Choose, known: frozenset[str]) -> frozenset[str]:
        ends = []
        for template in rule.templates:
            now = known
            for part in template:
                if isinstance(part, Draw) and part.variable:
                    now |= {part.variable}
                elif isinstance(part, Choose):
                    now = visit(part, now)
                elif isinstance(part, Mention) and not _mentionable(part, now, tables):
                    problems.append(f"<{rule.name}>: {{{part.variable}.{part.form}}}")
            ends.append(now)
        return frozenset.intersection(*ends)

    visit(grammar.start, frozenset())
    return problems


def _mentionable(part: Mention, known: frozenset[str], tables: dict[str, set[Table]]) -> bool:
    forms = [row.forms for table in tables.get(part.variable, ()) for row in table.rows]
    return part.variable in known and all(part.form in of_row for of_row in forms)


# --- length -----------------------------------------------------------------------------------------------------------


def word_bounds(grammar: TemplateGrammar) -> tuple[int, int]:
    """The fewest and the most words that a text can have: runs of white space, plus one.

    Each mention is counted as the shortest and as the longest row of its tables, so the bounds may be loose.
    """
    tables = tables_of_variables(grammar)

    def spaces(part: Part, best: Callable[..., int]) -> int:
        if isinstance(part, Literal):
            return len(_SPACE.findall(part.text))
        if isinstance(part, Choose):
            return best(sum(spaces(inner, best) for inner in template) for template in part.templates)
        rows = [
            row
            for table in (tables[part.variable] if isinstance(part, Mention) else {part.table})
            for row in table.rows
        ]
        return best(len(_SPACE.findall(row.forms[part.form])) for row in rows)

    return spaces(grammar.start, min) + 1, spaces(grammar.start, max) + 1
