"""How figures look: one palette, one size, the data's source below.

Figures are made without pyplot: no backend is chosen for the caller, and nothing keeps them alive.
"""

from collections.abc import Sequence
from io import BytesIO

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.typing import LineStyleType

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000", "#4d4d4d")
"""Colours in the order in which series appear: Okabe & Ito's (2008), which colour-blind readers tell apart; its yellow, too
pale for a line on white, is replaced by a dark brown, and its black by a grey that also shows on a dark page."""

DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)))
"""Line styles in the same order, so that colour is never the only difference."""


def line_style(place: int) -> tuple[str, LineStyleType]:
    """Colour and dash of the line at a place: the ninth has the first one's colour again, and another dash."""
    return PALETTE[place % len(PALETTE)], DASHES[(place + place // len(PALETTE)) % len(DASHES)]


RC = {
    "figure.dpi": 150,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "font.size": 9,
    "axes.prop_cycle": cycler(color=PALETTE),
    "font.family": ["sans-serif"],
}


class ShownFigure(Figure):
    """A figure that a notebook shows whether or not it has set up matplotlib."""

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.savefig(png, format="png", bbox_inches="tight")
        return png.getvalue()


def new_figure(
    title: str, caption: str = "", rows: int = 1, columns: int = 1, height: float = 3.6
) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a title above and the data's source below; its axes in reading order."""
    with mpl.rc_context(RC):
        figure = ShownFigure(figsize=(4.2 * columns + 2.2, height * rows))
        axes = figure.subplots(rows, columns, squeeze=False)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        if caption:
            figure.supxlabel(caption, x=0.01, ha="left", fontsize=7, color="0.4")
    for ax in axes.flat:
        ax.set_axisbelow(True)
    return figure, list(axes.flat)


def token_axis(ax: Axes) -> None:
    """Tokens seen along x, counted in thousands, millions or billions."""
    ax.set_xlabel("tokens seen")
    ax.xaxis.set_major_formatter(lambda x, _: human_count(x))


def plain_log(ax: Axes, axis: str = "x") -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 of each decade; more within one decade, powers of ten over many."""
    (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    low, high = sorted(abs(v) for v in chosen.get_data_interval())
    decades = np.log10(high / low) if low > 0 and np.isfinite(high) else 1.0
    marked = (1, 1.5, 2, 3, 5, 7) if decades < 1 else (1, 2, 5) if decades < 3 else (1,)
    chosen.set_major_locator(LogLocator(subs=marked, numticks=12))
    chosen.set_major_formatter(lambda x, _: human_count(x))
    chosen.set_minor_formatter(NullFormatter())


def human_count(x: float) -> str:
    """12_500_000 → 12.5M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size:
            return f"{x / size:.3g}{letter}"
    return f"{x:.3g}"


def legend(ax: Axes, **options: object) -> None:
    """A legend without a frame, where it hides least."""
    ax.legend(frameon=False, fontsize=7, title_fontsize=7, **options)  # type: ignore[arg-type]


def beside(ax: Axes, **options: object) -> None:
    """A legend to the right of the axes, where it can't lie on a line."""
    legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0), **options)
