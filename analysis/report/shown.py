"""Figures and tables made ready for the page: inline SVG with ids of its own, formatted columns, the whole table as CSV."""

import json
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from trajlab.analysis.report.names import Unique
from trajlab.analysis.report.section import Block
from trajlab.analysis.report.svg import LARGEST, inline_svg, png_data, svg_file, told_values
from trajlab.analysis.report.tables import Column, columns, csv_data


@dataclass(frozen=True)
class ShownFigure:
    """A figure for the page: inline SVG, or a PNG where that would be too long."""

    name: str
    words: str
    alt: str
    svg: Markup | None
    png: str | None
    document: str
    """The SVG as a file of its own."""
    told: str
    """JSON of `svg.told_values`; empty where nothing is told under the pointer."""
    kind: str = "figure"


@dataclass(frozen=True)
class ShownTable:
    """A table for the page."""

    name: str
    words: str
    columns: list[Column]
    rows: int
    csv: str
    folded: bool = False
    kind: str = "table"


class Shown:
    """Makes figures and tables ready for the page, each with a name of its own."""

    def __init__(self) -> None:
        self.unique = Unique()

    def figure(self, figure: Figure, name: str, words: str, alt: str = "") -> ShownFigure:
        """Inline SVG with ids of its own."""
        name = self.unique(name)
        document = svg_file(figure)
        inline = inline_svg(document, f"f-{name}")
        short = len(inline) <= LARGEST
        # matplotlib escapes what it writes into an SVG; nothing else is put into the page unescaped
        return ShownFigure(
            name,
            words,
            alt or words or name,
            Markup(inline) if short else None,
            None if short else png_data(figure),
            document,
            json.dumps(told, separators=(",", ":")) if short and (told := told_values(figure)) else "",
        )

    def table(
        self,
        frame: pd.DataFrame,
        words: str,
        name: str = "table",
        folded: bool = False,
        shown: pd.DataFrame | None = None,
    ) -> ShownTable:
        """Formatted columns, of ``shown`` where not all are shown, and the whole table as CSV."""
        drawn = columns(frame if shown is None else shown)
        return ShownTable(self.unique(name), words, drawn, len(frame), csv_data(frame), folded)

    def block(self, block: Block, section: str) -> object:
        """A block of a section."""
        if block.figure is not None:
            figure = self.figure(block.figure, block.name, block.words, block.alt)
            block.name = figure.name  # Markdown names the same file
            return figure
        if block.frame is not None:
            return self.table(block.frame, block.words, f"{section}-table", block.folded, block.shown)
        return block
