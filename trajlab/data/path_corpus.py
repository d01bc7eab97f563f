"""Text that lies on this machine: a file, a folder of files, a saved data set."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trajlab.data.text_files import READERS, by_numbers, read_saved_dataset, readable, refuse_incomplete
from trajlab.errors import UserError

SPLITS = ("train", "validation")


@dataclass
class PathCorpus:
    """A file, a folder with files ``train*`` and ``valid*`` (all are read, in order), or a folder written by ``datasets.save_to_disk``.

    Without a validation part, documents go to it by a hash of their text, about ``validation_fraction`` of them.
    """

    path: Path
    text_column: str = "text"
    validation_fraction: float = 0.05
    warning: str | None = None

    shuffled = False

    def __post_init__(self) -> None:
        self.path = Path(self.path).expanduser()
        if not self.path.exists():
            raise UserError(f"data.source={self.path}: no such file or folder; give an existing path, or 'auto'")
        if not (self.path.is_file() or self.path.is_dir()):
            raise UserError(f"data.source={self.path} is neither a file nor a folder; it has to be read more than once")
        if self.path.is_file() and self.path.suffix not in READERS:
            raise UserError(f"data.source={self.path}: can't read {self.path.suffix!r}; wanted is {', '.join(READERS)}")
        self._parts = {split: self._find(split) for split in SPLITS}

    @property
    def name(self) -> str:
        """The last two parts of the path; where it lies on one machine is nobody else's concern."""
        return "path:" + "/".join(self.path.resolve().parts[-2:])

    def identity(self) -> str:
        """A hash of the files' bytes and of what decides the splits."""
        digest = hashlib.blake2b(f"{self.text_column}|{self.validation_fraction}".encode(), digest_size=16)
        for split, part in self._parts.items():
            digest.update(split.encode())
            for file in [f for p in part for f in (sorted(p.rglob("*")) if p.is_dir() else [p])]:
                if file.is_file():
                    digest.update(_file_hash(file))
        return f"path:{digest.hexdigest()}"

    def documents(self, split: str) -> Iterator[str]:
        """Documents that hold more than white space."""
        part = self._parts[split]
        if not part and split == "validation":
            yield from (d for d in self._read(self._parts["train"]) if self._held_out(d))
        elif part and not self._parts["validation"]:
            yield from (d for d in self._read(part) if not self._held_out(d))
        else:
            yield from self._read(part)

    def _find(self, split: str) -> list[Path]:
        """The files of a split, or its one saved data set, in the order of the numbers in their names."""
        if not self.path.is_dir() or (self.path / "state.json").exists():
            return [self.path] if split == "train" else []
        prefix = "train" if split == "train" else "valid"
        named = (p for p in self.path.iterdir() if p.name.startswith(prefix))
        found = sorted((p for p in named if p.is_dir() or (p.is_file() and p.suffix in READERS)), key=by_numbers)
        if not found and split == "train":
            raise UserError(
                f"data.source={self.path}: the folder has no train file; wanted is a name that begins with 'train' and "
                f"ends in {', '.join(READERS)}, or a folder written by datasets.save_to_disk"
            )
        refuse_incomplete(found, self.path, prefix)
        return found

    def _read(self, parts: list[Path]) -> Iterator[str]:
        for part in parts:
            read = read_saved_dataset if part.is_dir() else READERS[part.suffix]
            yield from (d for d in readable(read, part, self.text_column) if d.strip())

    def _held_out(self, document: str) -> bool:
        digest = hashlib.blake2b(document.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64 < self.validation_fraction


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
