"""Claims of the study of checkpoint series (arXiv 2212.09803); see `trajlab.analysis.trajectory_claims` for their verdicts."""

import pandas as pd

from trajlab.analysis.load import Runs
from trajlab.analysis.trajectory_claims import series_claims


def table(runs: Runs) -> pd.DataFrame:
    """A row per claim whose tables are there; where runs of several experiments are given, each claim names its own."""
    found = series_claims(runs)
    if len(set(found["experiment"])) > 1:
        found["claim"] = found["experiment"] + ": " + found["claim"]
    return found
