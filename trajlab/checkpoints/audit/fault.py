"""One thing that is wrong with a series."""

from dataclasses import dataclass

KINDS = (
    "same_weights",
    "mixed",
    "missing",
    "extra",
    "broken",
    "config",
    "tokenizer",
    "dtype",
    "tensors",
    "nonfinite",
    "zero",
    "descent",
    "foreign",
    "jump",
    "still",
)


@dataclass(frozen=True)
class Fault:
    """A kind (`KINDS`), the checkpoints that it is about, and what to say of it."""

    kind: str
    revisions: tuple[str, ...]
    words: str
    tensors: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = ", ".join(self.tensors[:3]) + (f" and {len(self.tensors) - 3} more" if len(self.tensors) > 3 else "")
        return f"{self.kind}: {', '.join(self.revisions)}: {self.words}" + (f" ({named})" if named else "")
