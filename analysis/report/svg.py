"""Figures as SVG: alone in a file, and inline in a page, where they follow its light or dark colours."""

import base64
import re
from io import BytesIO, StringIO

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from trajlab.analysis.figures.style import PALETTE

LARGEST = 600_000
"""Characters of an inline SVG. A larger one (many thousand points) is embedded as PNG instead."""

INK = {"#000000": "--ink", "#4d4d4d": "--ink", "#666666": "--soft", "#b0b0b0": "--grid", "#ffffff": "--paper"}
"""Colours of matplotlib's text, lines and grid, and the page's variables that stand for them."""

VARIABLES = INK | {colour.lower(): f"--c{i}" for i, colour in enumerate(PALETTE)}


def svg_file(figure: Figure) -> str:
    """The figure as an SVG document; text stays text."""
    _as_written(figure)
    out = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "trajlab"}):
        figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def inline_svg(document: str, prefix: str) -> str:
    """`svg_file`'s document for a page: no prolog, no size of its own, ids that start with ``prefix``, the page's colours.

    The document is matplotlib's own, with texts escaped by it.
    """
    body = document[document.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    # a style sheet inside would hold for the whole page
    body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, flags=re.S)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) width="([\d.]+)pt"', _largest, body, count=1)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    body = re.sub(rf'id="{prefix}-value ([^"<>&]*)"', r'data-words="\1"', body)  # figures.overview names its marks so
    return re.sub(r'style="[^"]*"', lambda m: _with_variables(m[0]), body)


def _largest(match: re.Match[str]) -> str:
    """As wide as there is room, but letters no larger than the page's."""
    return f'{match[1]} style="max-width:{1.45 * float(match[2]):.0f}px"'


def _with_variables(style: str) -> str:
    return re.sub(r"#[0-9a-f]{6}\b", lambda m: f"var({VARIABLES[m[0]]})" if m[0] in VARIABLES else m[0], style)


def png_data(figure: Figure) -> str:
    """The figure as a ``data:`` address of a PNG."""
    out = BytesIO()
    figure.savefig(out, format="png", bbox_inches="tight", facecolor="white")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _as_written(figure: Figure) -> None:
    """Names from stored runs are text and no formulas: ``$x_{`` stands as it is. Powers of ten on an axis stay formulas."""
    ticks = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if not isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter):
                ticks |= {id(t) for t in axis.findobj(Text)} - {id(axis.label)}
    for text in figure.findobj(Text):
        if id(text) not in ticks:
            text.set_parse_math(False)
