"""Files of text, one reader per kind: documents out, and every row that is no text an error that names its place."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from trajlab.errors import UserError

END_OF_TEXT = "<|endoftext|>"


LONGEST_WORD = 100_000
"""Characters without white space that a text may hold: a tokenizer takes time with their square (3 MB: minutes)."""


def _read_txt(path: Path, column: str) -> Iterator[str]:
    lines: list[str] = []
    with path.open(encoding="utf8") as file:
        for number, line in enumerate(file, 1):
            *ended, rest = line.split(END_OF_TEXT)
            for piece in ended:
                yield text_of("".join([*lines, piece]).strip(), f"{path}:{number}", "text")
                lines = []
            lines.append(rest)
    yield text_of("".join(lines).strip(), str(path), "text")


def read_jsonl(path: Path, column: str) -> Iterator[str]:
    """One text per line: the value of key ``column``. Raises UserError, naming the line, for anything else."""
    with path.open(encoding="utf8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)[column]
            except (ValueError, RecursionError, KeyError, TypeError) as e:  # a number of 5,000 digits is a ValueError
                raise UserError(f"{path}:{number}: no JSON object with the key {column!r} ({type(e).__name__})") from e
            yield text_of(value, f"{path}:{number}", column)


def _read_parquet(path: Path, column: str) -> Iterator[str]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if column not in file.schema_arrow.names:
        raise UserError(f"{path}: no column {column!r}; it has {', '.join(file.schema_arrow.names)}")
    rows = (v for batch in file.iter_batches(columns=[column], batch_size=1024) for v in batch.column(0).to_pylist())
    for number, value in enumerate(rows, 1):
        yield text_of(value, f"{path}, row {number:,}", column)


def read_saved_dataset(path: Path, column: str) -> Iterator[str]:
    """The rows of a folder that ``datasets.save_to_disk`` wrote."""
    from datasets import load_from_disk

    for number, row in enumerate(load_from_disk(str(path)), 1):
        yield text_of(row[column], f"{path}, row {number:,}", column)


def text_of(value: object, where: str, column: str) -> str:
    """A document. Raises UserError for what is no text, and would be trained on as 'None' or '[1, 2]'."""
    if not isinstance(value, str):
        raise UserError(f"{where}: {column!r} is no text but {str(value)[:40]!r}; repair the row or take it out")
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise UserError(
            f"{where}: {column!r} holds half a character ({e.reason}); repair the row or take it out"
        ) from e
    if len(value) > LONGEST_WORD and (word := re.search(rf"\S{{{LONGEST_WORD},}}", value)):
        raise UserError(
            f"{where}: {len(word[0]):,} characters without white space, from character {word.start():,} on, are no text "
            f"(allowed are {LONGEST_WORD:,}); take them out"
        )
    return value


def readable(read: Callable[[Path, str], Iterator[str]], path: Path, column: str) -> Iterator[str]:
    """The documents of a file. Raises UserError where its bytes are not what its name promises."""
    import pyarrow as pa

    try:
        yield from read(path, column)
    except UnicodeDecodeError as e:
        hint = (
            "it looks like UTF-16" if e.object[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte {e.object[e.start]:#04x}"
        )
        raise UserError(f"{path} is not in UTF-8 ({hint}); convert it, e.g. with iconv -t UTF-8") from e
    except (pa.ArrowException, OSError) as e:
        raise UserError(f"{path} can't be read ({' '.join(str(e).split())[:200]}); write it again") from e


def by_numbers(path: Path) -> list[str | int]:
    """train-2 before train-10, train-00000-of-00002 as it is."""
    return [int(piece) if piece.isdigit() else piece for piece in re.split(r"([0-9]+)", path.name)]


def refuse_incomplete(found: list[Path], folder: Path, prefix: str) -> None:
    """Raise UserError for files of several kinds, which may hold the same text twice, and where shards are missing."""
    kinds = sorted({p.suffix or "folder" for p in found})
    if len(kinds) > 1:
        raise UserError(
            f"data.source={folder}: {prefix} files of several kinds ({', '.join(kinds)}); leave one kind there, or name a file"
        )
    shards = [m for p in found if (m := re.search(r"-([0-9]+)-of-([0-9]+)", p.name))]
    if shards and len(found) != int(shards[0][2]):
        raise UserError(
            f"data.source={folder}: {len(found)} of {int(shards[0][2])} {prefix} files are there; fetch the others, or name "
            "one file"
        )


READERS: dict[str, Callable[[Path, str], Iterator[str]]] = {
    ".txt": _read_txt,
    ".jsonl": read_jsonl,
    ".parquet": _read_parquet,
}
