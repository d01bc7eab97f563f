"""A section of the report: texts, tables and figures in reading order."""

from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure


@dataclass
class Section:
    """Part of a report: texts, tables and figures in reading order."""

    title: str
    blocks: list["Block"] = field(default_factory=list)

    def text(self, words: str) -> None:
        """A paragraph; plain text."""
        self.blocks.append(Block("text", words))

    def table(self, frame: pd.DataFrame, caption: str = "") -> None:
        """A table with its caption; numbers to four significant digits."""
        self.blocks.append(Block("table", caption, frame=frame))

    def figure(self, figure: Figure, name: str, caption: str = "") -> None:
        """A figure, stored as ``<name>.png``."""
        self.blocks.append(Block("figure", caption, figure=figure, name=name))


@dataclass
class Block:
    """One text, table or figure."""

    kind: str
    words: str
    frame: pd.DataFrame | None = None
    figure: Figure | None = None
    name: str = ""
