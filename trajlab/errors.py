"""The one exception for a user's mistakes: a message that names the key, the value and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches

from hydra.errors import CompactHydraException


class UserError(CompactHydraException):
    """A mistake of the person at the keyboard, not of the program.

    Hydra prints a ``CompactHydraException`` as one message with exit code 1, and a traceback only under
    ``HYDRA_FULL_ERROR=1``; raised inside a job of a sweep it keeps that behaviour.
    """


class ConfigProblems(UserError):
    """Everything that is wrong with a configuration, in one message."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"The configuration has {count}:\n" + "\n".join(f"  - {p}" for p in problems))

    def __reduce__(self) -> tuple[type, tuple[list[str]]]:
        return type(self), (self.problems,)


def did_you_mean(written: str, possible: Iterable[str]) -> str:
    """ ", did you mean x?", or nothing where nothing is like it."""
    close = get_close_matches(written, list(possible), n=1)
    return f", did you mean {close[0]}?" if close else ""
