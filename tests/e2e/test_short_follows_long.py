"""A short run over a long one's pool of tokens sees the same windows in the same order."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from trajlab.analysis.load import load_runs


def test_a_shorter_budget_over_the_same_pool_is_the_beginning_of_the_longer_run(micro: Callable[..., Path]) -> None:
    pool = "data.unique_tokens=1920"
    long, short = micro(pool, runs="long"), micro(pool, "intervals.budget_tokens=960", runs="short")
    first, second = (load_runs(r).steps["train_loss"] for r in (long, short))
    assert len(second) == 15
    pd.testing.assert_series_equal(first[:15], second, check_exact=True)
