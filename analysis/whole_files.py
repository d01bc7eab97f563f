"""Files of a report: whole or absent, so that a kill or a full disk leaves none that ends in the middle."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text under a temporary name, flush it, rename it. Raises OSError where the place can't be written.

    What a kill leaves under the temporary name, the same command writes again and renames.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        e.filename = str(path)
        raise
