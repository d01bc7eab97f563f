"""How far the scoring of one checkpoint is: a large one takes many minutes, and silence looks like a hang."""

import time
from collections.abc import Callable

from trajlab.terminal import say

EVERY_SECONDS = 30.0


class ScoringProgress:
    """Says how many of a split's windows are scored, and how long the rest takes, every ``every`` seconds."""

    def __init__(self, name: str, every: float = EVERY_SECONDS, clock: Callable[[], float] = time.perf_counter) -> None:
        self.name, self.every, self.clock = name, every, clock
        self._what = ("", "")
        self._started = self._shown = clock()

    def __call__(self, variant: str, split: str, scored: int, windows: int) -> None:
        """Called after every batch."""
        now = self.clock()
        if self._what != (variant, split):  # the first batch of a split starts its clock
            self._what, self._started, self._first = (variant, split), now, scored
        elif now - self._shown >= self.every and scored < windows:
            self._shown = now
            left = (now - self._started) / max(scored - self._first, 1) * (windows - scored)
            say(
                f"{self.name} | {split} ({variant}) {scored / windows:.0%} of {windows:,} windows | about {left:.0f} s left"
            )
