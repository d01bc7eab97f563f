"""What a series of checkpoints is: `Checkpoint`, the protocol `CheckpointSeries`, `prefetched`."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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


def prefetched(
    series: CheckpointSeries,
    wanted: Sequence[Checkpoint],
    broken: Callable[[Checkpoint, UserError], object] | None = None,
) -> Generator[tuple[Checkpoint, Path]]:
    """Each checkpoint with its folder, the next one being brought meanwhile.

    A checkpoint that can't be brought raises when its turn comes, after the earlier ones have been used; where there is
    ``broken``, it is told instead, and the next one follows.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        coming: Future[Path] | None = None
        for number, checkpoint in enumerate(wanted):
            present = coming or executor.submit(series.fetch, checkpoint)
            error = present.exception()
            if error is not None and (broken is None or not isinstance(error, UserError)):
                raise error
            following = wanted[number + 1] if number + 1 < len(wanted) else None
            coming = executor.submit(series.fetch, following) if following else None
            if broken is not None and isinstance(error, UserError):
                broken(checkpoint, error)
            else:
                yield checkpoint, present.result()
            series.release(checkpoint)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
