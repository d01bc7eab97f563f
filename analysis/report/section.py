"""A section of the report: texts, tables and figures in reading order."""

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

    def table(self, frame: pd.DataFrame, caption: str = "", *, folded: bool = False) -> None:
        """A table with its caption; ``folded`` shows the caption alone until it is opened."""
        self.blocks.append(Block("table", caption, frame=frame, folded=folded))

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
