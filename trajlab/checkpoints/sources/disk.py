"""What a series keeps on the disk, and what to say when that is full."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from trajlab.errors import UserError

CACHES = ("keep", "evict")


def checked_cache(value: str) -> str:
    """``keep`` or ``evict``. Raises UserError for another word."""
    if value not in CACHES:
        raise UserError(f"model.series.cache={value!r} must be one of {', '.join(CACHES)}")
    return value


@contextmanager
def on_disk(what: str) -> Iterator[None]:
    """A full disk as a message that says what to do."""
    try:
        yield
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise disk_full(what) from e
        raise


def disk_full(what: str) -> UserError:
    """What a full disk is told with."""
    return UserError(
        f"{what}: the disk is full; free some, write model.series.cache=evict (two checkpoints on the disk at most), or "
        "put HF_HUB_CACHE or data.cache_dir on a larger one. The same command goes on with the checkpoint it stopped at"
    )
