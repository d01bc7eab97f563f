"""A stored part that can't be read, in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from trajlab.errors import UserError


@contextmanager
def readable(part: Path) -> Iterator[None]:
    """Raise UserError, with the path and what to do, where what is read inside is broken or lacks something."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as e:
        told = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
        raise UserError(
            f"{part} can't be read ({told}); restore it, or write overwrite=true to make the run anew"
        ) from e
