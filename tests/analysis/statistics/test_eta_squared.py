"""The interval of η² covers the planted value; the sample's own value does not deserve one around it."""

import numpy as np
import pytest

from trajlab.analysis.statistics.calibration import random_walk, white_noise
from trajlab.analysis.statistics.eta_squared import _resampled, eta_squared_interval
from trajlab.analysis.statistics.sums_of_squares import decompose


def planted(model, n: int, size: float, rng: np.random.Generator, k: int = 21):  # type: ignore[no-untyped-def]
    """Grids with seed offsets of sd 2, an effect, and the population's partial and generalised η²."""
    curve_K = size * (np.linspace(-1, 1, k) ** 2 - np.mean(np.linspace(-1, 1, k) ** 2)) * np.sqrt(k)
    large = decompose(model((1, 20_000, k), rng) + 2 * rng.standard_normal((1, 20_000, 1)))
    effect = np.square(curve_K).sum()
    error, seed = (float(x[0]) / 19_999 for x in (large.error_B, large.subject_B))
    truth = effect / (effect + error), effect / (effect + error + seed)
    return lambda: model((1, n, k), rng)[0] + 2 * rng.standard_normal((n, 1)) + curve_K, truth


@pytest.mark.parametrize("model", [white_noise, random_walk])
@pytest.mark.parametrize("size", [0.0, 1.0])
def test_coverage_at_six_seeds(model, size: float) -> None:  # type: ignore[no-untyped-def]
    draw, truth = planted(model, 6, size, np.random.default_rng(0))
    hits = np.zeros(2)
    for i in range(150):
        y_SK = draw()
        for j, generalized in enumerate((False, True)):
            low, high = eta_squared_interval(y_SK, generalized=generalized, n_resamples=500, seed=i)
            hits[j] += low <= truth[j] <= high
    assert (hits / 150 >= 0.9).all()


def test_without_an_effect_the_sample_averages_one_over_n_and_the_interval_holds_zero() -> None:
    rng = np.random.default_rng(1)
    assert decompose(white_noise((2000, 6, 21), rng)).eta2_partial_B.mean() == pytest.approx(1 / 6, abs=0.01)
    assert eta_squared_interval(white_noise((1, 6, 21), rng)[0])[0] == 0.0


def test_few_seeds_and_reproducibility() -> None:
    y_SK = random_walk((1, 6, 9), np.random.default_rng(2))[0]
    assert np.isnan(eta_squared_interval(y_SK[:3])).all()
    assert eta_squared_interval(y_SK, seed=5) == eta_squared_interval(y_SK, seed=5)
    low, high = eta_squared_interval(y_SK + 100 * np.arange(9))
    assert 0.999 < low < high <= 1


def test_resampled_sums_are_those_of_the_resampled_grids() -> None:
    rng = np.random.default_rng(3)
    y_SK = random_walk((1, 5, 7), rng)[0] + 10 * rng.standard_normal((5, 1)) + np.arange(7) ** 2
    draws_BS = rng.integers(0, 5, (40, 5))
    fast, slow = _resampled(y_SK, draws_BS), decompose(y_SK[draws_BS])
    for part in ("effect_B", "subject_B", "error_B"):
        np.testing.assert_allclose(getattr(fast, part), getattr(slow, part), rtol=1e-9, atol=1e-9)
