"""Single questions instead of means (table `task_items`; docs/task_items.md).

`item_grid` turns rows into questions × checkpoints. `compare_items` is the paired comparison of two checkpoints or two
models, from `mcnemar` and `paired_permutation`; a test that takes the two for independent samples isn't offered.
`emergence` says at which checkpoint each question is learned for good, forgotten, learned again; `item_trends` sorts the
losses of the right options as token trends are sorted. `smooth_companion` puts bits per byte beside accuracy, `agreement`
counts what two models get right together, `fit_link` ties accuracy to loss.
"""

from trajlab.analysis.task_items.agreement import Agreement, agreement
from trajlab.analysis.task_items.emergence import KINDS, emergence, item_trends
from trajlab.analysis.task_items.grid import ItemGrid, aligned, item_grid
from trajlab.analysis.task_items.link import Link, fit_link
from trajlab.analysis.task_items.paired import Paired, compare_items, mcnemar, paired_permutation
from trajlab.analysis.task_items.smooth import smooth_companion

__all__ = [
    "KINDS",
    "Agreement",
    "ItemGrid",
    "Link",
    "Paired",
    "agreement",
    "aligned",
    "compare_items",
    "emergence",
    "fit_link",
    "item_grid",
    "item_trends",
    "mcnemar",
    "paired_permutation",
    "smooth_companion",
]
