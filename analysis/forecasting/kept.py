"""Scores that are kept while a contest runs: `Kept`, so that one that was killed goes on where it stood.

One Parquet file per curve. A row is used again only where everything that it depends on is the same: the losses, the law's
code, the tables of the default. Such a dependence is a digest in the row's key.
"""

import hashlib
import inspect
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd

from trajlab.analysis.curve_laws import Law
from trajlab.analysis.forecasting.default import RIVALS
from trajlab.analysis.forecasting.rebuild import Run

Row = dict[str, object]


class Kept:
    """The rows of one curve; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, run: Run) -> None:
        rate = b"" if run.lr_R is None else run.lr_R.tobytes()
        name = digest(run.name.encode(), run.family.encode(), run.step_R.tobytes(), run.loss_R.tobytes(), rate)
        self.path = None if folder is None else folder / f"{name}.parquet"
        self.rows = _rows(self.path)
        self.new = False

    def get(self, key: str, compute: Callable[[], Row]) -> Row:
        """The row of this key, computed where it isn't there."""
        if key not in self.rows:
            self.rows[key] = compute()
            self.new = True
        return self.rows[key]

    def write(self) -> None:
        """Keep what was computed; the file is replaced whole."""
        if self.path is None or not self.new:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(f".{os.getpid()}.new")
        pd.DataFrame([{"key": key, **row} for key, row in self.rows.items()]).to_parquet(beside, index=False)
        beside.replace(self.path)


def _rows(path: Path | None) -> dict[str, Row]:
    """What is kept; nothing where the file is no table of ours."""
    if path is None or not path.exists():
        return {}
    try:
        frame = pd.read_parquet(path)
        return {str(row.pop("key")): row for row in frame.to_dict("records")}
    except (OSError, ValueError, KeyError):
        return {}


def digest(*parts: bytes) -> str:
    """A short name for bytes."""
    joined = hashlib.sha256()
    for part in parts:
        joined.update(len(part).to_bytes(8, "little") + part)
    return joined.hexdigest()[:20]


FITTING = ("curves", "form", "law", "lr_path", "problem", "robust_fit")
"""Files of `trajlab.analysis.curve_laws` that every fit depends on."""
JUDGING = ("baselines", "projection", "scoring")
"""Files of this folder that every law's scores depend on."""


@cache
def code_of(law: type[Law]) -> str:
    """A digest of the source that a law's scores depend on: its own file, the fit, the judgement."""
    fitting = [Path(inspect.getfile(Law)).with_name(f"{name}.py") for name in FITTING]
    judging = [Path(__file__).with_name(f"{name}.py") for name in JUDGING]
    return digest(*(path.read_bytes() for path in (Path(inspect.getfile(law)), *fitting, *judging)))


DEFAULT = (
    *("archive", "calibration", "default", "departure", "evidence", "gaussian", "posterior", "rebuild", "response"),
    *("schedule", "scoring"),
)
"""Files of this folder that the default's scores depend on, beside those of its rivals."""


@cache
def code_of_default() -> str:
    """The same for the default."""
    own = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in DEFAULT]
    return digest(*own, *(code_of(rival).encode() for rival in RIVALS))
