"""How often each kind of verdict is wrong, and how often each kind of interval holds the true value: simulated.

Every kind that a `Claim` names in ``check`` has a `Kind` in `KINDS`, every interval that a report prints an `Interval` in
`COVERAGE`. `calibrate_verdicts` simulates them; `publish` (in ``page``) stores the numbers beside the claims and writes docs/statistics.md.
"""

import sys
from multiprocessing import get_context

import numpy as np
import pandas as pd

from trajlab.analysis.claims.calibration import of_models, of_seeds, of_tokens
from trajlab.analysis.claims.calibration.intervals import COVERAGE
from trajlab.analysis.claims.calibration.kinds import Interval, Kind

__all__ = ["COLUMNS", "COVERAGE", "KINDS", "Interval", "Kind", "calibrate_verdicts"]

KINDS: dict[str, Kind] = of_seeds.KINDS | of_tokens.KINDS | of_models.KINDS
COLUMNS = ["what", "kind", "situation", "data_sets", "wrong", "right"]
REPLICATES = 1000


def calibrate_verdicts(
    replicates: int | None = None, kinds: list[str] | None = None, seed: int = 0, jobs: int = 1
) -> pd.DataFrame:
    """A row per kind × simulated situation, of verdicts and of intervals; each is drawn from ``seed`` and its own name.

    Columns: what (verdict or interval), kind, situation, data_sets, wrong (share of data sets with a wrong word, or whose interval
    misses the true value), right (share with the right word under the planted effect). ``jobs`` processes share the situations; the
    numbers don't depend on them. Raises ValueError for an unknown kind.
    """
    if unknown := set(kinds or ()) - set(KINDS) - set(COVERAGE):
        there = ", ".join([*KINDS, *COVERAGE])
        raise ValueError(f"unknown kinds of verdict {', '.join(sorted(unknown))}; there are {there}")
    cells = [
        (name, situation, replicates or REPLICATES, seed)
        for name in kinds or [*KINDS, *COVERAGE]
        for situation in _situations(name)
    ]
    if jobs == 1:
        rows = [simulate_cell(cell) for cell in cells]
    else:
        with get_context("spawn").Pool(jobs) as pool:
            rows = list(map(_said, pool.imap(simulate_cell, cells)))
    return pd.DataFrame(rows, columns=COLUMNS)


Row = tuple[str, str, str, int, float, float]


def _said(row: Row) -> Row:
    """The row; a line on stderr says that it is there, since all of them take minutes."""
    print("\t".join(map(str, row)), file=sys.stderr, flush=True)
    return row


def _situations(name: str) -> list[str]:
    return [*KINDS[name].nulls, *KINDS[name].effects] if name in KINDS else list(COVERAGE[name].situations)


def simulate_cell(cell: tuple[str, str, int, int]) -> Row:
    """The row of one kind, situation, number of data sets and seed."""
    name, situation, n, seed = cell
    rng = np.random.default_rng([seed, *f"{name}/{situation}".encode()])
    if name in COVERAGE:
        cover = COVERAGE[name].situations[situation]
        return "interval", name, situation, n, sum(not cover(rng) for _ in range(n)) / n, np.nan
    kind = KINDS[name]
    if situation in kind.nulls:
        simulate, wrong = kind.nulls[situation]
        return "verdict", name, situation, n, sum(simulate(rng) in wrong for _ in range(n)) / n, np.nan
    simulate, right = kind.effects[situation]
    return "verdict", name, situation, n, np.nan, sum(simulate(rng) == right for _ in range(n)) / n
