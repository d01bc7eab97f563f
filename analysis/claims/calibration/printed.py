"""Which row of docs/statistics.md stands behind each interval that a report prints, by the table that prints it.

The tests of the report hold every table that any of them prints against `uncalibrated`.
"""

import re
from collections.abc import Iterable

INTERVAL = re.compile(r"(?:^|[_ :])(?:ci_low|low|lower|stderr|se|half_width)$|95.% CI from$|^\w+_se$|_ci$")
"""Names of columns that hold the lower end of an interval, or an error to be doubled by the reader."""

CELL = re.compile(r"[+−-]?[\d.,]+ \[[+−-]?[\d.,]+, [+−-]?[\d.,]+\]")
"""A value with its interval in brackets."""

PRINTED: dict[str, tuple[str, ...]] = {
    "Mean losses over seeds, each condition apart": ("mean over seeds", "best loss"),
    "Each condition beside .*, which ended lowest": ("mean over seeds", "difference of restricted means"),
    "Per interval: mean over seeds": ("mean over seeds",),
    "Where training turns": ("rise to the end", "set of lowest intervals"),
    "Planned contrasts of the loss": ("mean over seeds", "Hedges' g_av", "bootstrap of a contrast"),
    "each weighting minus none": ("mean over seeds", "Hedges' g_av", "bootstrap of a contrast"),
    "Kaplan–Meier median": ("median tokens to a target", "difference of restricted means"),
    "coefficients per million tokens": ("two errors of a coefficient",),
    "mean gain in nats": ("mean over seeds",),
    "how far behind annealed runs": ("mean over seeds",),
    "tokens to a target, raw and averaged": ("tokens saved",),
    "the longest gap, the target": ("tokens saved",),
}
"""Captions, and the kinds in `COVERAGE` that were simulated of the intervals below them."""

VERDICTS = r" against .*arXiv "
"""Captions of claims: each claim's own ``check`` names the row, and the table has its rate."""

ELSEWHERE = {
    "every number of every task at the last checkpoint": "docs/task_items.md",
    "with 95 % intervals over questions": "docs/task_items.md",
    "Checkpoints of one model, later − earlier": "docs/task_items.md",
    "Models at their last checkpoints, second − first": "docs/task_items.md",
    "Do they get the same questions right": "docs/task_items.md",
    "Trends of the right options' bits per byte": "docs/task_items.md",
    "From loss to accuracy": "docs/task_items.md",
    "Every registered forecast": "docs/forecasting.md",
}
"""Captions of tables whose intervals belong to a method with a calibration of its own, and where that stands."""


def uncalibrated(columns: Iterable[object], caption: str, cells: Iterable[object] = ()) -> list[str]:
    """The intervals among these columns and cells that no row stands behind; empty where the caption names one."""
    found = [str(c) for c in columns if INTERVAL.search(str(c))] + [str(c) for c in cells if CELL.search(str(c))][:1]
    return [] if any(re.search(words, caption) for words in (VERDICTS, *PRINTED, *ELSEWHERE)) else found
