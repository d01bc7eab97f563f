"""Published claims beside what the runs show.

`check(runs, study)` is the table: claim, published, observed with its interval, the margin, what the interval holds, how
often this kind of verdict is wrong, and the verdict (*supported*, *contradicted*, *undecided*, *not testable*). The claims of a paper are one file
with a `ClaimSet`; it is added to `OWN`, or, in a package from outside, as an entry point of the group `trajlab.claims`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from trajlab.analysis.claims import averaging, budget, temporal, trajectories
from trajlab.analysis.claims.claim import Claim, design, mean_claim, not_testable
from trajlab.analysis.claims.claim_set import ClaimSet
from trajlab.analysis.load import Runs
from trajlab.analysis.plugins import CLAIMS, plugged_in

__all__ = [
    "Claim",
    "ClaimSet",
    "check",
    "claim_sets",
    "design",
    "judged",
    "judged_experiments",
    "mean_claim",
    "not_testable",
    "studies",
]

OWN = {
    claims.study: claims
    for claims in (budget.CLAIMS, averaging.CLAIMS, temporal.CLAIMS, temporal.WEIGHTING, trajectories.CLAIMS)
}
"""trajlab's own claims, by the study that they judge."""

COLUMNS = [
    "claim",
    "published",
    "observed",
    "ci_low",
    "ci_high",
    "margin",
    "holds",
    "error_rate",
    "verdict",
    "reason",
]
"""A set of claims from outside may leave out ``margin``, ``holds``, ``error_rate`` and ``reason``."""


def claim_sets() -> dict[str, ClaimSet]:
    """Every set of claims: trajlab's own by study, then those of installed packages by the names of their entry points."""
    return OWN | plugged_in(CLAIMS, lambda found: isinstance(found, ClaimSet), "a ClaimSet", taken=OWN)


def studies() -> list[str]:
    """What `check` takes as ``study``."""
    return sorted(claim_sets())


def check(runs: Runs, study: str) -> pd.DataFrame:
    """Each published claim of ``study`` against ``runs``; a row per claim, numbers with a 95 % interval.

    Verdicts are those of `trajlab.analysis.claims.claim`: supported where the whole interval lies within the margin,
    contradicted where it excludes it, undecided between, not testable (with the reason) without evidence. Raises ValueError for an unknown study, where the runs hold
    more than it can judge at once, and where the claims of an installed package fail.
    """
    known = claim_sets()
    if study not in known:
        raise ValueError(f"study {study!r} is not known; there are {', '.join(sorted(known))}")
    return judged(runs, study, known[study])


def judged(runs: Runs, name: str, claims: ClaimSet) -> pd.DataFrame:
    """As `check`, of a set from `claim_sets` and its name there."""
    with _named(name):
        return _complete(claims.table(runs))


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    words = {"margin": "", "holds": "", "error_rate": np.nan, "reason": ""}
    missing = {name: value for name, value in words.items() if name not in table}
    return table.assign(**missing)[COLUMNS].reset_index(drop=True)


def judged_experiments(runs: Runs, name: str, claims: ClaimSet) -> list[str]:
    """The experiments with a run that these claims are about. Raises ValueError as `check` does."""
    with _named(name):
        return sorted({str(m["experiment"]) for m in runs.manifests if claims.judges(m)})


@contextmanager
def _named(study: str) -> Iterator[None]:
    """A mistake in the claims of an installed package becomes a ValueError that says whose it is."""
    try:
        yield
    except Exception as e:
        if study in OWN or isinstance(e, ValueError):
            raise
        raise ValueError(f"the claims {study} [{CLAIMS}] of an installed package fail: {type(e).__name__}: {e}") from e
