"""Faults that show without reading a weight: from the names of a series and the hashes of its files."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

from trajlab.checkpoints.audit.fault import Fault
from trajlab.checkpoints.audit.listing import FileMark, Listing


class Pattern(Protocol):
    """How the names of checkpoints are read (`trajlab.checkpoints.sources.pattern.Pattern`)."""

    text: str
    field: str

    def number(self, name: str) -> int | None:
        """The step or the tokens in a name; None where it is another name."""
        ...


CONFIG = ("config.json",)
TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "added_tokens.json",
)
ABSENT = ""
"""What a file means that isn't there."""
HARMLESS = (
    "transformers_version",
    "_name_or_path",
    "torch_dtype",
    "dtype",
    "use_cache",
    "name_or_path",
    "architectures",
)
"""Keys that say who wrote a file, or what shows in the weights themselves."""
WIDTH_MATCH = 0.15
"""How near the logarithm (base 2) of a size ratio has to be to that of another number of bytes per value **(ours)**."""
GRID_SHARE = 0.8
"""Of the steps between neighbours, how many have to be alike for one that lacks to count as missing **(ours)**."""


def listing_faults(listing: Listing, pattern: Pattern | None = None, asked: Sequence[int] | None = None) -> list[Fault]:
    """Every fault of the listing. ``asked``: the numbers that were asked for; None: the gaps of the names tell."""
    revisions = list(listing.files)
    found = [*_same(listing, revisions), *_mixed(listing, revisions), *_sizes(listing, revisions)]
    for kind, names in (("config", CONFIG), ("tokenizer", TOKENIZER)):
        found += _changed(listing, revisions, kind, names)
    if pattern is not None:
        found += _names(listing, pattern, asked)
    return found


def _weight_digests(listing: Listing, revision: str) -> tuple[str, ...] | None:
    digests = [m.digest for m in listing.weights(revision).values()]
    return tuple(sorted(str(d) for d in digests)) if digests and None not in digests else None


def _same(listing: Listing, revisions: Sequence[str]) -> Iterator[Fault]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for revision in revisions:
        if digests := _weight_digests(listing, revision):
            groups.setdefault(digests, []).append(revision)
    for group in groups.values():
        if len(group) > 1:
            yield Fault("same_weights", tuple(group), "their weight files have the same hashes")


def _mixed(listing: Listing, revisions: Sequence[str]) -> Iterator[Fault]:
    owner: dict[str, str] = {}
    for revision in revisions:
        shards: Mapping[str, FileMark] = listing.weights(revision)
        known = {n: owner[m.digest] for n, m in shards.items() if m.digest in owner and m.digest}
        others = sorted(set(known.values()))
        if known and len(known) < len(shards):
            words = f"{len(known)} of {len(shards)} weight files are those of the other ({', '.join(sorted(known))})"
            yield Fault("mixed", (revision, *others), words)
        for mark in shards.values():
            if mark.digest:
                owner.setdefault(mark.digest, revision)


def _sizes(listing: Listing, revisions: Sequence[str]) -> Iterator[Fault]:
    sizes = {r: sum(m.size for m in listing.weights(r).values()) for r in revisions}
    usual = Counter(round(s, -4) for s in sizes.values() if s).most_common(1)
    for revision, size in sizes.items():
        if not size:
            yield Fault("missing", (revision,), "it has no weight file")
        elif usual and usual[0][0] and not 0.8 < (ratio := size / usual[0][0]) < 1.25:
            if absent := _absent(listing, revision):
                yield Fault("broken", (revision,), f"its index names {', '.join(absent[:3])}, which is not there")
                continue
            words = f"its weights take {size:,} bytes, the others' about {usual[0][0]:,}"
            wider = min(abs(math.log2(ratio) - halvings) for halvings in (-2, -1, 1, 2)) < WIDTH_MATCH
            yield (
                Fault("dtype", (revision,), words) if wider else Fault("broken", (revision,), f"{words}: is it whole?")
            )


def _absent(listing: Listing, revision: str) -> list[str]:
    """Shards that an index of a revision names and that don't lie beside it; read only where the size is odd."""
    files, absent = listing.files[revision], set[str]()
    for index in (n for n in files if n.endswith(".index.json") and "/" not in n):
        try:
            named = set(json.loads(listing.read(revision, index))["weight_map"].values())
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            continue
        absent |= {str(n) for n in named} - set(files)
    return sorted(absent)


def _changed(listing: Listing, revisions: Sequence[str], kind: str, names: Sequence[str]) -> Iterator[Fault]:
    """Files whose content differs from that of most revisions; each different content is read once."""
    for name in names:
        marks = {r: listing.files[r][name].digest for r in revisions if name in listing.files[r]}
        content: dict[str | None, str] = {}
        for revision, digest in marks.items():
            if digest not in content:
                content[digest] = _meaning(listing.read(revision, name), name)
        meanings = {r: content[marks[r]] if r in marks else ABSENT for r in revisions}
        usual = Counter(meanings.values()).most_common(1)[0][0]
        if other := tuple(r for r, m in meanings.items() if m != usual and m != ABSENT):
            yield Fault(kind, other, f"{name} differs from that of the others")
        if usual != ABSENT and (without := tuple(r for r, m in meanings.items() if m == ABSENT)):
            yield Fault("missing" if name in CONFIG else kind, without, f"it has no {name}, which the others have")


def _meaning(content: bytes, name: str) -> str:
    """The content without what is harmless in it."""
    if not name.endswith(".json"):
        return content.hex()
    try:
        spec = json.loads(content)
    except (ValueError, RecursionError):
        return content.hex()
    if isinstance(spec, dict):
        spec = {k: v for k, v in spec.items() if k not in HARMLESS}
    return json.dumps(spec, sort_keys=True)


# ---- names


def _names(listing: Listing, pattern: Pattern, asked: Sequence[int] | None) -> Iterator[Fault]:
    numbers = sorted(n for name in listing.named if (n := pattern.number(name)) is not None)
    wanted = asked if asked is not None else [*numbers, *holes(numbers)]
    there = set(numbers)
    for lacking in wanted:
        if lacking not in there:
            name = pattern.text.replace(f"{{{pattern.field}}}", str(lacking))
            yield Fault("missing", (name,), "there is no such checkpoint")
    head = pattern.text.split("{")[0]
    for name in listing.named:
        number = pattern.number(name)
        if head and number is None and name.startswith(head) and name[len(head) :][:1].isdigit():
            yield Fault("extra", (name,), f"its name doesn't fit {pattern.text!r}")
        elif asked is None and number is not None and off_grid(number, numbers):
            yield Fault("extra", (name,), "it lies between the steps of the others")


def _grid(numbers: Sequence[int]) -> tuple[int, list[int]] | None:
    """The usual step between neighbours and the numbers from its first use on; None where there is no usual one."""
    gaps = [b - a for a, b in pairwise(numbers)]
    if len(gaps) < 4:
        return None
    usual, count = Counter(gaps).most_common(1)[0]
    tail = list(numbers[gaps.index(usual) :])
    return (usual, tail) if count >= max(4, GRID_SHARE * (len(tail) - 1)) else None


def holes(numbers: Sequence[int]) -> list[int]:
    """Numbers that lack on the grid of the others: 1000, 2000, 4000, 5000, 6000, 7000 → 3000."""
    grid = _grid(numbers)
    if grid is None:
        return []
    step, tail = grid
    return [n for a, b in pairwise(tail) if (b - a) % step == 0 for n in range(a + step, b, step)]


def off_grid(number: int, numbers: Sequence[int]) -> bool:
    """Whether a number lies between two neighbours of the others' grid; the last may lie anywhere."""
    others = [n for n in numbers if n != number]
    grid = _grid(others)
    if grid is None or _grid(numbers) is None:
        return False
    step, tail = grid
    return tail[0] < number < tail[-1] and (number - tail[0]) % step != 0
