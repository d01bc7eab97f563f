"""A section of the report: texts, tables and figures in reading order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from trajlab.analysis.report.names import slug


@dataclass
class Section:
    """Part of a report: texts, tables and figures in reading order."""

    title: str
    blocks: list["Block"] = field(default_factory=list)

    def condition(self, name: str, seeds: int | None = None) -> None:
        """What follows belongs to this condition; the page's switch shows one condition or all."""
        count = "" if seeds is None else f", {seeds} seed{'s' if seeds != 1 else ''}"
        self.blocks.append(Block("condition", f"Condition {name}{count}", name=slug(name)))

    def text(self, words: str) -> None:
        """A paragraph; plain text."""
        self.blocks.append(Block("text", words))

    def problem(self, words: str) -> None:
        """A box that says what is missing and why; plain text."""
        self.blocks.append(Block("problem", words))

    def table(
        self, frame: pd.DataFrame, caption: str = "", *, folded: bool = False, columns: Sequence[str] | None = None
    ) -> None:
        """A table with its caption; ``folded`` shows the caption alone until it is opened.

        ``columns`` chooses what is shown of a wide table, those of them that it has; its CSV file holds all.
        """
        self.blocks.append(Block("table", caption, frame=frame, folded=folded, columns=columns))

    def figure(self, figure: Figure, name: str, caption: str = "", *, alt: str = "") -> None:
        """A figure; ``alt`` states its finding for those who can't see it, the caption unless given."""
        self.blocks.append(Block("figure", caption, figure=figure, name=slug(name), alt=alt or caption))


@dataclass
class Block:
    """One text, table, figure, box, or the beginning of a condition."""

    kind: str
    words: str
    frame: pd.DataFrame | None = None
    figure: Figure | None = None
    name: str = ""
    alt: str = ""
    folded: bool = False
    columns: Sequence[str] | None = None

    @property
    def shown(self) -> pd.DataFrame:
        """The table as it is shown: the columns that were chosen."""
        assert self.frame is not None
        chosen = self.frame.columns if self.columns is None else [c for c in self.columns if c in self.frame]
        return self.frame[list(chosen)]
