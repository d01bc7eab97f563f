"""The claims of one paper, and which runs they are about."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import Manifest, study


@dataclass(frozen=True)
class ClaimSet:
    """What one paper claimed, to be held against the runs of one study."""

    study: str
    """The study that it judges, as `study` in the configuration and in the manifest names it."""
    source: str
    """Short name of the paper and where it stands, e.g. ``Early averaging (arXiv 2306.03241)``."""
    table: Callable[[Runs], pd.DataFrame]
    """Runs of one experiment in, a row per claim out: claim, published, observed, ci_low, ci_high, verdict.

    No row where the runs lack the tables; ValueError where they can't be judged, with the reason.
    """
    reading: str = ""
    """How to read the verdicts; stands below the table."""
    applies: Callable[[Manifest], bool] = lambda manifest: True
    """Whether a run of the study is of the kind that the claims are about; a control, for instance, is not."""

    def judges(self, manifest: Manifest) -> bool:
        """Whether the claims are about this run."""
        return study(manifest) == self.study and self.applies(manifest)
