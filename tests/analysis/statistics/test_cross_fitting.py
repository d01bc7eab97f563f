"""The lowest loss and the rise from it: the interval holds the truth also where the data chose the place."""

import numpy as np
import pytest

from trajlab.analysis.statistics.cross_fitting import cross_fitted, shrinkage

FLAT_K, VALLEY_K = np.zeros(21), 0.5 * np.abs(np.arange(21) - 8)


@pytest.mark.parametrize(("curve_K", "seeds"), [(FLAT_K, 6), (FLAT_K, 10), (VALLEY_K, 10)])
def test_the_interval_holds_what_is_lowest_among_many(curve_K: np.ndarray, seeds: int) -> None:
    rng = np.random.default_rng(0)
    hits = np.zeros(2)
    for _ in range(150):
        y_SK = curve_K + rng.standard_normal((seeds, 21))
        for place, (start, truth) in enumerate(((None, 0.0), (-1, curve_K[-1]))):
            _, low, high = cross_fitted(y_SK, start)
            hits[place] += low <= truth <= high
    assert (hits / 150 >= 0.9).all()  # with t on n − 1 degrees of freedom 83 to 88 % for the lowest loss


def test_where_one_interval_is_clearly_lowest_it_is_the_t_interval_of_its_mean() -> None:
    y_SK = np.random.default_rng(1).standard_normal((6, 3)) - 100 * np.eye(3)[1]
    mean, low, high = cross_fitted(y_SK)
    assert mean == pytest.approx(y_SK[:, 1].mean())
    half = 2.5706 * y_SK[:, 1].std(ddof=1) / 6**0.5
    assert half <= high - mean + 1e-4
    assert high - mean < 1.3 * half
    assert mean - low == pytest.approx(high - mean)


def test_two_seeds_and_curves_without_any_spread() -> None:
    assert cross_fitted(np.ones((3, 4))) == (1.0, 1.0, 1.0)
    assert cross_fitted(np.array([[2.0, 1.0, 3.0]] * 2), -1) == (2.0, 2.0, 2.0)
    assert np.isfinite(cross_fitted(np.random.default_rng(0).standard_normal((2, 4)))).all()


def test_correlations_are_shrunk_as_the_formula_says() -> None:
    y_SK = np.random.default_rng(0).standard_normal((6, 8)).cumsum(1)
    z_SK = (y_SK - y_SK.mean(0)) / y_SK.std(0, ddof=1)
    products = z_SK[:, :, None] * z_SK[:, None, :]
    off = ~np.eye(8, dtype=bool)
    variances = 6 / 5**3 * np.square(products - products.mean(0)).sum(0)
    assert shrinkage(y_SK) == pytest.approx(variances[off].sum() / np.square(products.sum(0) / 5)[off].sum())
    assert shrinkage(np.ones((3, 4))) == 1.0
