"""The store of a run in a process that only helps to train it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from trajlab.protocols import Interval
from trajlab.store import layout
from trajlab.store.run_store import RunStore


class FollowedStore(RunStore):
    """Reads as every store does; writing is the first process' part, so here it comes to nothing.

    Members of a run thus write where they have something to write, and needn't know in which process they are.
    """

    @contextmanager
    def lock(self, *, wait: float = 0.0) -> Iterator[None]:
        """The first process holds it."""
        yield

    def update_manifest(self, **entries: Any) -> None:
        """Nothing."""

    def write_config(self, text: str) -> None:
        """Nothing."""

    def write(self, table: str, interval: Interval, rows: pa.Table, suffix: str = "") -> None:
        """Nothing."""

    def remove_parts(self, suffix: str) -> None:
        """Nothing."""

    def save_snapshot(self, interval: Interval, write: Callable[[Path], object]) -> Path:
        """Nothing; where the first process writes it."""
        return layout.snapshot_path(self.folder, interval.tokens)

    def save_checkpoint(self, write: Callable[[Path], object]) -> None:
        """Take part in ``write``: all processes of a strategy meet there, and the first alone writes the file."""
        write(self.checkpoint)

    def rewind(self, last_interval: int, last_tokens: int) -> None:
        """Nothing."""
