"""Give stored intervals other numbers: a series of checkpoints got new ones between the old.

All parts are written anew beside the old ones, then the folders change places, so that a crash leaves either the old
numbers or the new ones.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trajlab.files import publish
from trajlab.store import layout
from trajlab.store.broken import readable
from trajlab.store.tables import PROBES

NEW, OLD = "metrics.renumbered", "metrics.before"


def renumber(run: Path, numbers: Mapping[int, int]) -> None:
    """Rows and parts of interval ``k`` become those of ``numbers[k]``; intervals that aren't named keep theirs."""
    start_anew(run)
    for part in layout.parts(run):
        table = part.parent.name
        number = layout.part_interval(part)
        new = number if table == PROBES.name else numbers.get(number, number)
        with readable(part):
            rows = pq.read_table(part, partitioning=None)
        place = rows.column_names.index("interval")
        rows = rows.set_column(place, rows.schema.field(place), pa.array([new] * len(rows), pa.int64()))
        name = layout.part_path(run, table, new, layout.part_suffix(part)).name
        publish(run / NEW / table / name, lambda p, rows=rows: pq.write_table(rows, p))  # type: ignore[misc]
    put_in_place(run)


def start_anew(run: Path) -> None:
    """Make room for parts that are written beside the old ones."""
    shutil.rmtree(run / NEW, ignore_errors=True)
    (run / NEW).mkdir()


def put_in_place(run: Path) -> None:
    """Let the parts that were written beside the old ones take their place."""
    (run / layout.METRICS).rename(run / OLD)
    (run / NEW).rename(run / layout.METRICS)
    shutil.rmtree(run / OLD)


def finish_renumbering(run: Path) -> None:
    """Put right what a crash between the two renames left."""
    if not (run / layout.METRICS).exists() and (run / NEW).exists() and (run / OLD).exists():
        (run / NEW).rename(run / layout.METRICS)
    shutil.rmtree(run / OLD, ignore_errors=True)
    shutil.rmtree(run / NEW, ignore_errors=True)
