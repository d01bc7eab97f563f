"""Published claims beside what the runs show.

`check(runs, study)` is the table: claim, published, observed, ci_low, ci_high, verdict. A study is a module of this package
with ``table(runs) -> frame`` of these columns; a new study adds one file.
"""

import importlib
import pkgutil

import pandas as pd

from trajlab.analysis.claims.claim import Claim
from trajlab.analysis.load import Runs

__all__ = ["Claim", "check", "studies"]

COLUMNS = ["claim", "published", "observed", "ci_low", "ci_high", "verdict"]


def studies() -> list[str]:
    """The studies whose claims can be checked."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "claim")


def check(runs: Runs, study: str) -> pd.DataFrame:
    """Each published claim of ``study`` against ``runs``; a row per claim, numbers with a 95 % interval.

    What a verdict means is the study's own: see its module. Raises ValueError for an unknown study, and where the runs hold
    more than it can judge at once.
    """
    if study not in studies():
        raise ValueError(f"study {study!r} is not known; there are {', '.join(studies())}")
    table: pd.DataFrame = importlib.import_module(f"trajlab.analysis.claims.{study}").table(runs)
    return table[COLUMNS].reset_index(drop=True)
