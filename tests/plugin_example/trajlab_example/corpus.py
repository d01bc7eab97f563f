"""A corpus: documents of two splits that share none."""

from collections.abc import Iterator


class Counting:
    """Documents that count upwards: "17 18 19 …". Even starts are for training, odd ones for validation."""

    warning = None
    shuffled = False  # the documents lie in an order, so trajlab samples them

    def __init__(self, documents: int = 2_000, length: int = 30) -> None:
        self.count, self.length = documents, length

    @property
    def name(self) -> str:
        """What people see in banners and captions."""
        return f"counting:{self.count}x{self.length}"

    def identity(self) -> str:
        """Changes whenever the documents do."""
        return self.name

    def documents(self, split: str) -> Iterator[str]:
        """The documents of ``train`` or ``validation``."""
        for start in range(split == "validation", self.count, 2):
            yield " ".join(str(n) for n in range(start, start + self.length))
