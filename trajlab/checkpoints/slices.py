"""Checkpoints read and written a slice at a time, so that no model has to fit into memory.

`CheckpointFiles` knows where each tensor of a checkpoint lies: a safetensors file, or a folder with one or with shards
and their index. `read_slice` and `write_slice` move a run of elements; `copy_layout` makes empty files of the same
names, shapes and types. Finding files and reading headers is `trajlab.checkpoints.weights`'s.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from trajlab.checkpoints.weights import DTYPES, METADATA, read_header, tensor_bytes, weight_files, write_header
from trajlab.errors import UserError


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    """Bytes from the file's start."""

    @property
    def numel(self) -> int:
        """Elements."""
        return prod(self.shape)


class CheckpointFiles:
    """The tensors of a checkpoint and where they lie.

    Raises UserError where the path holds no safetensors, where a shard is absent and where a file is broken.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.metadata: dict[str, str] = {}
        """What the first file says about itself."""
        self.entries: dict[str, Entry] = {}
        """By tensor name, in the files' order."""
        self.files = weight_files(self.path, pickles=False)
        for file in self.files:
            header, data = read_header(file)
            self.metadata = self.metadata or header.pop(METADATA, {})
            header.pop(METADATA, None)
            for name, spec in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
                self.entries[name] = _entry(file, name, spec, data)

    @property
    def nbytes(self) -> int:
        """Bytes of all weight files."""
        return sum(file.stat().st_size for file in self.files)


def read_slice(file: BinaryIO, entry: Entry, start: int, stop: int) -> Tensor:
    """The flat elements start … stop of a tensor. Raises UserError where the file ends before."""
    tensor = torch.empty(stop - start, dtype=entry.dtype)
    file.seek(entry.offset + start * entry.dtype.itemsize)
    if file.readinto(tensor_bytes(tensor)) < len(tensor_bytes(tensor)):  # type: ignore[attr-defined]
        raise UserError(f"{entry.file} is truncated; fetch or write it again")
    return tensor


def write_slice(file: BinaryIO, entry: Entry, start: int, values: Tensor) -> None:
    """Put flat elements into a tensor from ``start`` on, in its own precision."""
    file.seek(entry.offset + start * entry.dtype.itemsize)
    file.write(tensor_bytes(values.to(entry.dtype).contiguous()))


def copy_layout(source: CheckpointFiles, to: Path, metadata: Mapping[str, str]) -> CheckpointFiles:
    """Files like the source's, every tensor empty, ``metadata`` added; a folder's other files are copied."""
    if source.path.is_dir():
        to.mkdir(parents=True)
        for file in source.path.iterdir():
            if file.is_file() and file not in source.files and not file.name.startswith("."):
                shutil.copyfile(file, to / file.name)
    for file in source.files:
        header, data = read_header(file)
        header[METADATA] = {**header.get(METADATA, {}), **metadata}
        _write_empty(to / file.name if source.path.is_dir() else to, header, file.stat().st_size - data)
    return CheckpointFiles(to)


def first_difference(a: CheckpointFiles, b: CheckpointFiles) -> str | None:
    """What keeps two checkpoints from being averaged, the first that is found; None where nothing does."""
    for name, entry in a.entries.items():
        other = b.entries.get(name)
        if other is None:
            return f"{b.path} lacks {name}, which {a.path} has"
        if other.shape != entry.shape:
            return f"{name} is {list(other.shape)} in {b.path} and {list(entry.shape)} in {a.path}"
        if other.dtype != entry.dtype:
            return f"{name} is {other.dtype} in {b.path} and {entry.dtype} in {a.path}"
    extra = next((name for name in b.entries if name not in a.entries), None)
    return None if extra is None else f"{b.path} has {extra}, which {a.path} lacks"


def slices(numel: int, size: int) -> Iterator[tuple[int, int]]:
    """Starts and stops that cover ``numel`` elements; one empty slice for an empty tensor."""
    return ((start, min(start + size, numel)) for start in range(0, max(numel, 1), size))


def _entry(file: Path, name: str, spec: dict[str, Any], data: int) -> Entry:
    if spec["dtype"] not in DTYPES:
        raise UserError(f"{file}: {name} is of type {spec['dtype']}, which can't be averaged here; convert it")
    return Entry(file, DTYPES[spec["dtype"]], tuple(spec["shape"]), data + spec["data_offsets"][0])


def _write_empty(file: Path, header: dict[str, Any], data_bytes: int) -> None:
    with file.open("wb") as opened:
        opened.truncate(write_header(opened, header) + data_bytes)
