"""What is known of a series' files without reading weights: names, sizes, hashes."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True)
class FileMark:
    """A file's size in bytes and the hash that its source gives it; None where none is known without reading it."""

    size: int
    digest: str | None


@dataclass(frozen=True)
class Listing:
    """Files by revision and name, and how a small one is read."""

    files: Mapping[str, Mapping[str, FileMark]]
    read: Callable[[str, str], bytes]
    """Content of a file of a revision."""
    named: Sequence[str] = field(default_factory=tuple)
    """All names at the source, those that don't fit the pattern too."""

    def weights(self, revision: str) -> dict[str, FileMark]:
        """The weight files of a revision; safetensors alone where there are some."""
        files = self.files[revision]
        for suffix in WEIGHTS:
            if found := {n: m for n, m in files.items() if n.endswith(suffix) and "/" not in n}:
                return found
        return {}


def folder_listing(root: Path, revisions: Sequence[str], named: Sequence[str]) -> Listing:
    """The files of local folders; hashes of the small ones alone."""
    files = {
        r: {p.name: FileMark(p.stat().st_size, _digest(p)) for p in sorted((root / r).iterdir()) if p.is_file()}
        for r in revisions
    }
    return Listing(files, lambda revision, name: (root / revision / name).read_bytes(), named)


def _digest(path: Path) -> str | None:
    return None if path.suffix in WEIGHTS else hashlib.sha256(path.read_bytes()).hexdigest()
