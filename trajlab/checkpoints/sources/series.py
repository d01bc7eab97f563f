"""What a series of checkpoints is: `Checkpoint`, the protocol `CheckpointSeries`, `prefetched`, and what supplies it."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from trajlab.errors import UserError
from trajlab.protocols import Interval


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a series."""

    index: int
    """Its place in the series, from 0."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Tokens seen."""
    revision: str
    """Its name at the source: a revision, a folder, a snapshot."""

    @property
    def interval(self) -> Interval:
        """The same as an interval of a run."""
        return Interval(self.index, self.tokens, self.tokens, self.step)


class CheckpointSeries(Protocol):
    """Checkpoints in the order of training."""

    @property
    def name(self) -> str:
        """What it is and where it is found, for people and for the manifest."""
        ...

    def checkpoints(self) -> list[Checkpoint]:
        """All of them. Raises UserError where they can't be listed."""
        ...

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """A folder in the format of transformers. Raises UserError where it can't be had."""
        ...

    def release(self, checkpoint: Checkpoint) -> None:
        """It is no longer needed; a series may free the disk."""
        ...


@runtime_checkable
class Tidied(Protocol):
    """A series that keeps checkpoints on the disk for a while."""

    def tidy(self) -> None:
        """Nothing more is to be done: remove what killed processes left."""
        ...


@dataclass(frozen=True)
class Wanted:
    """A checkpoint that is to be brought, and what for."""

    checkpoint: Checkpoint
    measured: bool = True
    """False: an average alone is made of it."""
    afresh: bool = False
    """Averages begin anew with it: what was taken before isn't what comes before it."""


class Supply(Protocol):
    """Says which checkpoint comes next, at the moment when it is asked."""

    def take(self, *, wait: bool) -> Wanted | None:
        """The next one; None where there is none now or, with ``wait``, will be none any more."""
        ...


class InOrder:
    """These checkpoints, one after another."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self._left = iter(checkpoints)

    def take(self, *, wait: bool) -> Wanted | None:
        """The next of them."""
        found = next(self._left, None)
        return None if found is None else Wanted(found)


def prefetched(
    series: CheckpointSeries,
    supply: Supply,
    broken: Callable[[Checkpoint, UserError], object] | None = None,
) -> Generator[tuple[Wanted, Path]]:
    """Each checkpoint with its folder, the next one being brought meanwhile: two are on the disk at most.

    A checkpoint that can't be brought raises when its turn comes, after the earlier ones have been used; where there is
    ``broken``, it is told instead, and the next one follows.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        coming: Future[Path] | None = None
        present = supply.take(wait=True)
        while present is not None:
            future = coming or executor.submit(series.fetch, present.checkpoint)
            error = future.exception()
            if error is not None and (broken is None or not isinstance(error, UserError)):
                raise error
            following = supply.take(wait=False)
            coming = executor.submit(series.fetch, following.checkpoint) if following else None
            if broken is not None and isinstance(error, UserError):
                broken(present.checkpoint, error)
            else:
                yield present, future.result()
            if following is None or following.checkpoint != present.checkpoint:
                series.release(present.checkpoint)
            present = following or supply.take(wait=True)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
