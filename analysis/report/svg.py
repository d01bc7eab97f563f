"""Figures as SVG: alone in a file, and inline in a page, where they follow its light or dark colours."""

import base64
import re
import warnings
from collections.abc import Iterator
from io import BytesIO, StringIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

from trajlab.analysis.figures.style import PALETTE, human_count

LARGEST = 600_000
"""Characters of an inline SVG. A larger one (many thousand points) is embedded as PNG instead."""

INK = {"#000000": "--ink", "#4d4d4d": "--ink", "#666666": "--soft", "#b0b0b0": "--grid", "#ffffff": "--paper"}
"""Colours of matplotlib's text, lines and grid, and the page's variables that stand for them."""

VARIABLES = INK | {colour.lower(): f"--c{i}" for i, colour in enumerate(PALETTE)}

TOLD_LINE, TOLD = 300, 2500
"""Points of a line, and of a figure, up to which the page can tell their values under the pointer."""

POINTS = 72
"""Units of an SVG's view box in an inch."""


def svg_file(figure: Figure) -> str:
    """The figure as an SVG document; text stays text. The layout is computed once and then fixed."""
    for text in _words(figure):  # names from stored runs are text and no formulas: ``$x_{`` stands as it is
        text.set_parse_math(False)
    out = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "trajlab"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine("none")
        # savefig would draw everything twice, once to lay out what is laid out already
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    return out.getvalue()


def told_values(figure: Figure) -> list[dict[str, object]]:
    """What the page tells under the pointer, of a figure that `svg_file` has laid out: an entry for each axes with named lines.

    ``box`` (left, top, right, bottom) and the lines' points ``x``, ``y`` in units of the SVG's view box, ``at`` the words of
    the points' x and ``values`` those of their y, ``of`` the x axis' label. Empty where there are too many points.
    """
    width, height = figure.get_size_inches() * POINTS
    found: list[dict[str, object]] = []
    total = 0
    for axes in figure.axes:
        place = axes.get_position()
        box = (place.x0 * width, (1 - place.y1) * height, place.x1 * width, (1 - place.y0) * height)
        lines = [told for line in axes.lines if (told := _told_line(line, axes, box))]
        total += sum(len(told["x"]) for told in lines)
        if lines:
            found.append({"box": [round(b, 1) for b in box], "of": axes.get_xlabel(), "lines": lines})
    return found if total <= TOLD else []


def _told_line(line: Line2D, axes: Axes, box: tuple[float, float, float, float]) -> dict[str, list[object]] | None:
    """The points of a line that has a name and lies along x, those outside the axes left out."""
    x, y = (np.asarray(v, float) for v in line.get_data())
    name = str(line.get_label())
    if name.startswith("_") or not 2 <= len(x) <= TOLD_LINE or not (np.diff(x) >= 0).all():
        return None
    seen = axes.transAxes.inverted().transform(axes.transData.transform(np.column_stack([x, y])))
    kept = np.isfinite(seen).all(1) & (seen[:, 0] >= -0.01) & (seen[:, 0] <= 1.01)
    left, top, right, bottom = box
    shown = np.clip(seen[kept, 1], -0.05, 1.05)
    return {
        "name": [name],
        "x": np.round(left + seen[kept, 0] * (right - left), 1).tolist(),
        "y": np.round(bottom - shown * (bottom - top), 1).tolist(),
        "at": [human_count(v) for v in x[kept]],
        "values": [f"{v:.4g}" for v in y[kept]],
    }


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


def _words(figure: Figure) -> Iterator[Text]:
    """All texts that may hold a name; `findobj` over whole axes would cost as much as drawing them.

    Powers of ten on an axis stay formulas.
    """
    yield from figure.texts
    for legend in [*figure.legends, *(found for axes in figure.axes if (found := axes.get_legend()))]:
        yield from legend.findobj(Text)
    for axes in figure.axes:
        yield from (child for child in axes.get_children() if isinstance(child, Text))
        for axis in (axes.xaxis, axes.yaxis):
            yield axis.label
            if isinstance(axis.get_major_formatter(), FixedFormatter):  # names; all other ticks are numbers
                yield from axis.get_ticklabels()
