"""The measured rates: stored beside the claims, and written into docs/statistics.md by the command that measured them."""

from pathlib import Path

import numpy as np
import pandas as pd

from trajlab.analysis.claims.calibration import COLUMNS, COVERAGE, KINDS
from trajlab.analysis.claims.error_rates import STORED

HEADS = {
    "verdict": "| verdict | situation | data sets | wrong, % | right, % |\n|---|---|---|---|---|",
    "interval": "| interval | situation | data sets | holds the true value, % |\n|---|---|---|---|",
}


def publish(table: pd.DataFrame, page: Path, stored: Path = STORED) -> None:
    """Put the rows of `calibrate_verdicts` in the place of older ones of the same kinds: in ``stored`` and in ``page``.

    Raises ValueError where the page lacks the marks between which a table stands (``<!-- verdict rates -->`` and
    ``<!-- end -->``, the same with ``interval``).
    """
    older = pd.read_csv(stored) if stored.is_file() else pd.DataFrame(columns=COLUMNS)
    rows = pd.concat([older[~older["kind"].isin(table["kind"])], table.round(4)], ignore_index=True)
    rank = {name: place for place, name in enumerate([*KINDS, *COVERAGE])}
    rows = rows[rows["kind"].isin(rank)].sort_values("kind", key=lambda kind: kind.map(rank), kind="stable")
    text = page.read_text(encoding="utf-8")
    for what in HEADS:
        text = _between(text, f"<!-- {what} rates -->", "<!-- end -->", _table(rows[rows["what"] == what], what), page)
    rows.to_csv(stored, index=False)
    page.write_text(text, encoding="utf-8")


def _table(rows: pd.DataFrame, what: str) -> str:
    lines = [HEADS[what]]
    for row in rows.itertuples():
        rates = (row.wrong, row.right) if what == "verdict" else (1 - row.wrong,)
        shown = " | ".join("" if np.isnan(rate) else f"{100 * rate:.1f}" for rate in rates)
        lines.append(f"| {row.kind} | {row.situation} | {row.data_sets} | {shown} |")
    return "\n".join(lines)


def _between(text: str, start: str, end: str, table: str, page: Path) -> str:
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} has no {start} followed by {end}; put the two lines where the table is to stand")
    return f"{before}{start}\n{table}\n{end}{after}"
