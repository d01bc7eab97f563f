"""Which checkpoints: names with a step or a token count in them, and lists of steps."""

import re
from collections.abc import Sequence
from itertools import pairwise

from trajlab.checkpoints.sources.series import Checkpoint
from trajlab.errors import UserError

FIELDS = ("step", "tokens")
SPAN = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?")


class Pattern:
    """A name with ``{step}`` or ``{tokens}`` in it, e.g. ``step{step}``; both ways.

    Raises UserError unless exactly one of the two is there.
    """

    def __init__(self, text: str, tokens_per_step: int) -> None:
        found = [f for f in FIELDS if f"{{{f}}}" in text]
        if len(found) != 1 or text.count("{") != 1 or re.search(r"\*\{|\}\*", text):
            raise UserError(f"model.series.pattern={text!r} must hold {{step}} or {{tokens}}, once, and no * beside it")
        if tokens_per_step < 1:
            raise UserError(f"model.series.tokens_per_step={tokens_per_step} must be at least 1")
        self.text, self.field, self.tokens_per_step = text, found[0], tokens_per_step
        before, after = text.split(f"{{{self.field}}}")
        self.listable = "*" not in text
        """Whether a number alone makes the whole name; ``*`` stands for anything (``step{step}-tokens*``)."""
        self._regex = re.compile(_escaped(before) + r"(\d+)" + _escaped(after))

    def number(self, name: str) -> int | None:
        """The step or the tokens in a name; None where it is another name."""
        match = self._regex.fullmatch(name)
        return int(match[1]) if match else None

    def numbered(self, names: Sequence[str], steps: Sequence[int | str] | None, where: str) -> list[Checkpoint]:
        """The checkpoints of these names in order, or those of ``steps`` alone.

        Raises UserError where there is none, and where one that is asked for is missing.
        """
        by_number: dict[int, str] = {}
        for name in names:
            if (n := self.number(name)) is not None and by_number.setdefault(n, name) != name:
                raise UserError(
                    f"{where}: {by_number[n]!r} and {name!r} both fit {self.text!r}; make the pattern narrower"
                )
        if not by_number:
            raise UserError(f"{where} has nothing that looks like {self.text!r}; set model.series.pattern")
        wanted = expanded_steps(steps) if steps is not None else sorted(by_number)
        if missing := [n for n in wanted if n not in by_number]:
            nearest = sorted(by_number, key=lambda n: (abs(n - missing[0]), n))[:4]
            raise UserError(
                f"{where} has no checkpoint {self.text.replace(f'{{{self.field}}}', str(missing[0]))!r}"
                + (f" ({len(missing)} are missing)" if len(missing) > 1 else "")
                + f"; the nearest are {', '.join(by_number[n] for n in sorted(nearest))}; change model.series.steps"
            )
        return [self._checkpoint(i, n, by_number[n]) for i, n in enumerate(wanted)]

    def listed(self, steps: Sequence[int | str]) -> list[Checkpoint]:
        """The checkpoints of ``steps``, taken on trust."""
        name = self.text.replace(f"{{{self.field}}}", "{}")
        return [self._checkpoint(i, n, name.format(n)) for i, n in enumerate(expanded_steps(steps))]

    def _checkpoint(self, index: int, number: int, name: str) -> Checkpoint:
        if self.field == "step":
            return Checkpoint(index, number, number * self.tokens_per_step, name)
        return Checkpoint(index, number // self.tokens_per_step, number, name)


def _escaped(text: str) -> str:
    return "[^/]*".join(map(re.escape, text.split("*")))


def expanded_steps(steps: Sequence[int | str]) -> list[int]:
    """``[0, 1, "1000..3000:1000"]`` → 0, 1, 1000, 2000, 3000. Raises UserError for what can't be read or goes back."""
    numbers: list[int] = []
    for item in steps:
        match = SPAN.fullmatch(str(item))
        if match:
            numbers += range(int(match[1]), int(match[2]) + 1, int(match[3] or 1))
        elif str(item).isdigit():
            numbers.append(int(item))
        else:
            raise UserError(f"model.series.steps: {item!r} is no step; write 1000 or '1000..143000:1000'")
    if not numbers or any(b <= a for a, b in pairwise(numbers)):
        raise UserError(f"model.series.steps must name steps that increase, got {list(steps)}")
    return numbers
