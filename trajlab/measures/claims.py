"""Which checkpoint this process measures next, among those that evaluate one series side by side.

Without averages the first that nobody has. An average is made of neighbours, so with averages a process goes on where it
is, and one that comes later begins in the middle of the longest stretch that is left: contiguous shares come about by
themselves, and each begins with the checkpoints before it that its first average is made of (read, not measured again).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from trajlab.averaging import Averager
from trajlab.averaging.over_series import needed
from trajlab.checkpoints.sources import Checkpoint, Wanted
from trajlab.store.workers import POLL_SECONDS, Workers
from trajlab.terminal import say

SLOWEST_POLL = 5.0
"""Seconds between two looks at what others are at, where one waits for them."""


class Claims:
    """What is left of a series to this process; a `Supply`."""

    def __init__(
        self,
        workers: Workers,
        checkpoints: Sequence[Checkpoint],
        todo: Iterable[int],
        is_done: Callable[[Checkpoint], bool],
        averagers: Sequence[Averager] = (),
    ) -> None:
        self._workers, self._checkpoints, self._is_done = workers, list(checkpoints), is_done
        self._averagers = averagers
        wanted = set(todo)
        self._todo = {c.index: c for c in checkpoints if c.index in wanted}
        self._queue: deque[Wanted] = deque()
        self._mine: set[int] = set()
        self._from: int | None = None
        """First and last checkpoint that the averages hold, once all that is queued has been read."""
        self._last = -1

    def take(self, *, wait: bool) -> Wanted | None:
        """The next checkpoint to read; None where there is none now or, with ``wait``, where all are done.

        Without ``wait`` nothing is taken that another process could begin with at once.
        """
        pause = POLL_SECONDS
        while not self._queue:
            if (found := self._claimed(ahead=not wait)) is not None:
                self._queue.extend(self._way_to(found))
            elif not wait or not self._todo:
                return None
            else:
                if pause == POLL_SECONDS:
                    say(f"waiting for {len(self._todo)} checkpoints that other processes are at")
                time.sleep(pause)
                pause = min(1.5 * pause, SLOWEST_POLL)
        return self._queue.popleft()

    def ended(self, checkpoint: Checkpoint, *, left: bool = False) -> None:
        """It is done (or ``left`` as it is): nobody need take it again, or somebody else may."""
        self._mine.discard(checkpoint.index)
        if not left:
            self._todo.pop(checkpoint.index, None)
        self._workers.give_back(checkpoint.step, checkpoint.revision)

    def _claimed(self, *, ahead: bool) -> Checkpoint | None:
        free = self._free()
        if ahead and len(free) <= len(self._workers.others()):
            return None
        for checkpoint in self._in_order(free):
            if not self._workers.claim(checkpoint.step, checkpoint.revision):
                continue
            if not self._is_done(checkpoint):
                self._mine.add(checkpoint.index)
                return checkpoint
            self.ended(checkpoint)  # between the look and the claim
        return None

    def _free(self) -> list[Checkpoint]:
        """What is to be done and nobody is at; what others have done meanwhile is crossed off."""
        broken = {(b["step"], b["revision"]) for b in self._workers.broken()}
        free = []
        for index, c in list(self._todo.items()):
            if index in self._mine or self._workers.held(c.step, c.revision):
                continue
            if (c.step, c.revision) in broken or self._is_done(c):
                del self._todo[index]
            else:
                free.append(c)
        return free

    def _in_order(self, free: Sequence[Checkpoint]) -> list[Checkpoint]:
        """The one to try first, and then the others."""
        if not self._averagers or not free:
            return list(free)
        places = {c.index: i for i, c in enumerate(self._checkpoints)}
        stretches: list[list[Checkpoint]] = []
        for c in free:
            follows = stretches and places[c.index] == places[stretches[-1][-1].index] + 1
            stretches[-1].append(c) if follows else stretches.append([c])
        longest = max(stretches, key=len)
        before = places[longest[0].index] - 1
        theirs = before >= 0 and self._checkpoints[before].index in self._todo.keys() - self._mine
        first = longest[len(longest) // 2] if theirs else longest[0]
        on = [c for c in free if self._from is not None and places[c.index] == places[self._last] + 1]
        return list(dict.fromkeys([*on, first, *free]))

    def _way_to(self, target: Checkpoint) -> list[Wanted]:
        """The checkpoints to read so that the averages at the target are whole, the target last."""
        if not self._averagers:
            return [Wanted(target)]
        done = {c.index for c in self._checkpoints} - {target.index}
        anew = needed(self._checkpoints, done, self._averagers)
        on = [c for c in self._checkpoints if self._last < c.index <= target.index]
        goes_on = self._from is not None and self._from <= anew[0].index and self._last < target.index
        way = on if goes_on and len(on) <= len(anew) else anew
        afresh = way is anew and self._from is not None
        if way is anew:
            self._from = anew[0].index
        self._last = target.index
        return [Wanted(c, measured=c == target, afresh=afresh and c == way[0]) for c in way]
