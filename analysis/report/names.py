"""Names that are safe wherever the report puts them: as a file, an anchor, an id."""

import hashlib
import re

LONGEST = 80
"""Characters of a slug; a longer one is cut and told apart by its hash."""


def slug(words: object) -> str:
    """Letters, digits, ``-``, ``_`` and single dots inside; never empty, never a path.

    >>> slug("../../../x"), slug('" onerror="'), slug("lr=0.1,seed=3"), slug("…")
    ('x', 'onerror', 'lr-0.1-seed-3', 'unnamed')
    """
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", str(words))
    text = re.sub(r"\.\.+", ".", re.sub(r"-+", "-", text)).strip("-.") or "unnamed"
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 9]}-{hashlib.sha256(str(words).encode()).hexdigest()[:8]}"


class Unique:
    """Gives each name once: the second ``loss`` is ``loss-2``."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, words: object) -> str:
        """The slug of these words, or with a number where it was given before."""
        name = first = slug(words)
        number = 1
        while name.casefold() in self._given:  # some file systems don't tell A from a
            number += 1
            name = f"{first}-{number}"
        self._given.add(name.casefold())
        return name
