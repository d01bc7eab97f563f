"""A run's curves: what tells one from another, and an average beside its baseline."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

RUN = ["experiment", "run", "seed", "split"]
"""What tells one run's curves from another's."""


def curve_pairs(
    intervals: pd.DataFrame, variant: str, baseline: str
) -> Iterable[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Baseline and variant curves of every run and split that have both."""
    for keys, frame in intervals.groupby(RUN, dropna=False):
        curves = [frame[frame["variant"] == v].sort_values("tokens") for v in (baseline, variant)]
        if all(len(c) for c in curves):
            yield dict(zip(RUN, keys, strict=True)), curves[0], curves[1]
