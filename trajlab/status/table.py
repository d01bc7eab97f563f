"""Runs as lines of a table that fits its terminal."""

from collections.abc import Callable, Sequence
from math import isfinite

from trajlab.status.reading import Facts
from trajlab.terminal import duration

SHORTEST_NAME = 12
COLUMNS: dict[str, Callable[[Facts], str]] = {
    "run": lambda f: f"{f.experiment}/{f.run}",
    "state": lambda f: f.state,
    "place": lambda f: _place(f),
    "loss": lambda f: "" if f.loss is None else f"{f.loss:.4f}",
    "left": lambda f: "" if f.seconds_left is None else duration(f.seconds_left),
    "tokens/s": lambda f: "" if not f.tokens_per_second else f"{f.tokens_per_second:,.0f}",
    "tokens": lambda f: "" if f.tokens is None else f"{f.tokens:,}",
    "will end at": lambda f: _forecast(f),
}
"""In the order in which they are given up from the last, where the terminal is too narrow."""
SHOWN = ("run", "state", "place", "tokens", "tokens/s", "left", "loss", "will end at")


def table(runs: Sequence[Facts], width: int) -> list[str]:
    """A heading and a line for each run; empty columns are left out, long names lose their middle."""
    cells = {name: [show(f) for f in runs] for name, show in COLUMNS.items()}
    kept = [name for name in COLUMNS if any(cells[name])]
    widths = {name: max(len(name), *map(len, cells[name])) for name in kept}
    while len(kept) > 2 and _others(widths, kept) + min(widths["run"], SHORTEST_NAME) > width:
        kept.pop()
    widths["run"] = max(1, min(widths["run"], width - _others(widths, kept)))
    order = [name for name in SHOWN if name in kept]
    lines = [{name: name for name in order}, *({n: cells[n][i] for n in order} for i in range(len(runs)))]
    return ["  ".join(_fitted(line[n], widths[n], n) for n in order).rstrip()[:width] for line in lines]


def _others(widths: dict[str, int], kept: Sequence[str]) -> int:
    """What all columns but the first take, with the gaps."""
    return sum(widths[name] + 2 for name in kept if name != "run")


def _fitted(text: str, width: int, column: str) -> str:
    if len(text) > width:
        head = (width - 1) // 3
        text = text[:head] + "…" + text[len(text) - (width - 1 - head) :] if width > 1 else "…"
    return text.ljust(width) if column in ("run", "state") else text.rjust(width)


def _place(f: Facts) -> str:
    return f"{f.tokens / f.budget:.0%}" if f.tokens is not None and f.budget else ""


def _forecast(f: Facts) -> str:
    if f.forecast is None:
        return ""
    final, low, high = f.forecast
    banded = low is not None and high is not None and isfinite(low) and isfinite(high)
    return f"{final:.3f} [{low:.3f}, {high:.3f}]" if banded else f"{final:.3f}"
