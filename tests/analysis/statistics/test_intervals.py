"""The t interval: SciPy's for numbers, element by element for columns, none of one observation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from trajlab.analysis.statistics.intervals import t_interval


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_it_is_scipys(level: float) -> None:
    values = np.random.default_rng(0).normal(size=7)
    found = t_interval(values.mean(), stats.sem(values), len(values), level)
    assert found == pytest.approx(stats.ttest_1samp(values, 0).confidence_interval(level))


def test_columns_of_different_counts_and_one_observation() -> None:
    table = pd.DataFrame({"mean": [1.0, 1.0, 1.0], "sd": [1.0, 1.0, np.nan], "n": [4, 9, 1]})
    low, high = t_interval(table["mean"], table["sd"] / np.sqrt(table["n"]), table["n"])
    assert (high - low)[:2].to_numpy() == pytest.approx(2 * stats.t.ppf(0.975, [3, 8]) / [2, 3])
    assert np.isnan([low[2], high[2]]).all()
