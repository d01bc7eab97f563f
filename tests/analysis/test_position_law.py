"""The position law: planted parameters, the closed-form mean, degenerate input, speed."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from trajlab.analysis.position_law import (
    BlockLosses,
    bootstrap_errors,
    fit_position_law,
    hyperbola,
    mean_hyperbola,
    position_losses,
    resample,
)


def planted(checkpoints: int = 40, positions: int = 512, noise: float = 1e-3, seed: int = 0):  # type: ignore[no-untyped-def]
    a0_K = np.linspace(1.5, 3.0, checkpoints)
    a1_K = np.geomspace(0.2, 0.05, checkpoints)
    a2_K = np.linspace(4.0, 2.0, checkpoints)
    loss_KP = hyperbola(a0_K, a1_K, a2_K, np.arange(1.0, positions + 1))
    return a0_K, a1_K, a2_K, loss_KP + noise * np.random.default_rng(seed).normal(size=loss_KP.shape)


def test_planted_parameters_are_recovered() -> None:
    a0_K, a1_K, a2_K, loss_KP = planted()
    law = fit_position_law(loss_KP)
    assert (law.flag_K == "ok").all()
    for fitted_K, true_K in ((law.a0_K, a0_K), (law.a1_K, a1_K), (law.a2_K, a2_K)):
        assert np.abs(fitted_K / true_K - 1).max() < 0.01
    assert law.r2_K.min() > 0.999


def test_without_noise_the_fit_is_exact() -> None:
    _, a1_K, _, loss_KP = planted(noise=0.0)
    law = fit_position_law(loss_KP)
    np.testing.assert_allclose(law.a1_K, a1_K, rtol=1e-7)
    np.testing.assert_allclose(law.predict(), loss_KP, atol=1e-8)


@given(a0=st.floats(-5, 5), a1=st.floats(1e-6, 50), a2=st.floats(0, 10), n=st.integers(1, 3000))
def test_the_digamma_identity(a0: float, a1: float, a2: float, n: int) -> None:
    direct = np.mean(a0 / (1 + a1 * np.arange(1, n + 1)) + a2)
    assert abs(float(mean_hyperbola(a0, a1, a2, n)) - direct) < 1e-10


def test_the_laws_mean_is_the_mean_of_its_prediction() -> None:
    law = fit_position_law(planted()[3])
    np.testing.assert_allclose(law.mean(512), law.predict().mean(1), atol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_curve_fit_finds_nothing_better_and_agrees_on_errors(weighted: bool) -> None:
    loss_KP = planted(checkpoints=5, noise=1e-2)[3]
    weights_P = np.linspace(1, 3, loss_KP.shape[1]) if weighted else np.ones(loss_KP.shape[1])
    law, i_P = fit_position_law(loss_KP, weights=weights_P), np.arange(1.0, loss_KP.shape[1] + 1)
    for k, row_P in enumerate(loss_KP):
        best, cov = curve_fit(_law, i_P, row_P, p0=(2, 0.1, 3), sigma=weights_P**-0.5, xtol=1e-13, ftol=1e-13)
        theirs = (weights_P * (_law(i_P, *best) - row_P) ** 2).sum()
        assert law.sse_K[k] <= theirs * (1 + 1e-9)
        np.testing.assert_allclose(law.stderr()[k], np.sqrt(np.diag(cov)), rtol=1e-4)


def test_errors_from_known_variances_cover_the_truth() -> None:
    """Positions of unequal noise: 68 % of the fits within a standard error."""
    rng, i_P = np.random.default_rng(1), np.arange(1.0, 129)
    sd_P = np.where(i_P < 20, 0.03, 0.005)
    loss_KP = _law(i_P, 2.0, 0.1, 3.0) + sd_P * rng.normal(size=(2000, 128))
    law = fit_position_law(loss_KP, variance=sd_P**2)
    away_K3 = np.abs(np.stack([law.a0_K, law.a1_K, law.a2_K], 1) - [2.0, 0.1, 3.0]) / law.stderr()
    np.testing.assert_allclose((away_K3 < 1).mean(0), 0.683, atol=0.04)


def test_zero_weight_leaves_a_position_out() -> None:
    loss_KP = planted(checkpoints=3)[3]
    spoiled_KP, weights_P = loss_KP.copy(), np.ones(loss_KP.shape[1])
    spoiled_KP[:, 7], weights_P[7] = np.nan, 0
    kept = np.delete(np.arange(loss_KP.shape[1]), 7)
    law, reference = fit_position_law(spoiled_KP, weights=weights_P), fit_position_law(loss_KP[:, kept], kept + 1)
    assert (law.flag_K == "ok").all()
    np.testing.assert_allclose(law.a1_K, reference.a1_K, rtol=1e-6)


DEGENERATE = {
    "flat": (np.full(64, 3.0), "flat"),
    "flat with noise": (3 + 1e-3 * np.random.default_rng(0).normal(size=64), "flat"),
    "rising": (3 - 2 / (1 + 0.3 * np.arange(1, 65)), "rising"),
    "a line": (3 - 0.001 * np.arange(64), "at_bound"),
    "NaN": (np.where(np.arange(64) == 3, np.nan, 3.0), "not_finite"),
    "infinite": (np.where(np.arange(64) == 3, np.inf, 3.0), "not_finite"),
    "two positions": (np.array([3.0, 2.0]), "few_positions"),
    "one position": (np.array([3.0]), "few_positions"),
    "zeros": (np.zeros(64), "flat"),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_losses_are_flagged(name: str) -> None:
    row_P, flag = DEGENERATE[name]
    law = fit_position_law(row_P[None])
    assert law.flag_K[0] == flag
    assert len(law.table()) == 1
    assert law.predict().shape == (1, len(row_P))


def test_a_degenerate_checkpoint_leaves_its_neighbours_alone() -> None:
    loss_KP = planted(checkpoints=5)[3]
    alone = fit_position_law(loss_KP[[0, 2, 3, 4]])
    loss_KP[1] = np.nan
    law = fit_position_law(loss_KP)
    assert law.flag_K.tolist() == ["ok", "not_finite", "ok", "ok", "ok"]
    np.testing.assert_allclose(law.a1_K[[0, 2, 3, 4]], alone.a1_K, rtol=1e-9)
    assert np.isnan(law.a0_K[1])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=6), min_size=1, max_size=4)
)
def test_no_losses_raise(rows: list[list[float]]) -> None:
    width = min(len(r) for r in rows)
    law = fit_position_law(np.array([r[:width] for r in rows]))
    assert law.flag_K.shape == (len(rows),)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="positions"):
        fit_position_law(np.ones((2, 8)), positions=np.arange(1, 8))
    with pytest.raises(ValueError, match="weights"):
        fit_position_law(np.ones((2, 8)), weights=np.ones(7))
    with pytest.raises(ValueError, match="counted from 1"):
        fit_position_law(np.ones((2, 8)), positions=np.arange(8))


def test_block_bootstrap_errors_match_the_noise() -> None:
    rng, i_P = np.random.default_rng(2), np.arange(1.0, 65)
    noise_KBP = 0.02 * rng.normal(size=(2, 200, 64))
    blocks = BlockLosses(np.array([1.0, 2.0]), (_law(i_P, 2.0, 0.1, 3.0) + noise_KBP) * 4, np.full(200, 4.0))
    measured_K3 = bootstrap_errors(blocks, replicates=200)
    expected_K3 = fit_position_law((blocks.nll_KBP / 4).mean(1), variance=np.full(64, 0.02**2 / 200)).stderr()
    np.testing.assert_allclose(measured_K3, expected_K3, rtol=0.25)
    assert len(list(resample(blocks, 3))) == 3


def test_losses_are_read_from_the_positions_table() -> None:
    frame = pd.DataFrame(
        {"run": "a", "variant": "raw", "split": "valid", "tokens": [0, 0, 8, 8], "position": [1, 2, 1, 2],
         "nll_sum": [8.0, 6.0, 4.0, 2.0], "nll_sq_sum": [40.0, 20.0, 9.0, 3.0], "count": 2}
    )  # fmt: skip
    losses = position_losses(frame)
    np.testing.assert_array_equal(losses.loss_KP, [[4, 3], [2, 1]])
    np.testing.assert_array_equal(losses.variance_KP, [[4, 1], [0.5, 0.5]])
    with pytest.raises(ValueError, match="several values of run"):
        position_losses(pd.concat([frame, frame.assign(run="b")]))


def test_benchmark_400_checkpoints_of_1024_positions() -> None:
    """Under half a second, at least 50 times faster than a curve_fit loop, and no worse anywhere."""
    loss_KP, i_P = planted(400, 1024)[3], np.arange(1.0, 1025)
    fit_position_law(loss_KP[:2])
    ours = min(_timed(lambda: fit_position_law(loss_KP)) for _ in range(5))
    law = fit_position_law(loss_KP)
    theirs_K = []

    def loop() -> None:
        theirs_K.extend(curve_fit(_law, i_P, row_P)[0] for row_P in loss_KP)

    loop_seconds = _timed(loop)
    sse_K = ((np.stack([_law(i_P, *p) for p in theirs_K]) - loss_KP) ** 2).sum(1)
    print(
        f"position law {ours * 1e3:.1f} ms, curve_fit loop {loop_seconds * 1e3:.0f} ms: {loop_seconds / ours:.0f} times"
    )
    assert ours < 0.5
    assert loop_seconds / ours >= 50
    assert (law.sse_K <= sse_K * (1 + 1e-9)).all()


def _law(i: np.ndarray, a0: float, a1: float, a2: float) -> np.ndarray:
    return a0 / (1 + a1 * i) + a2


def _timed(call) -> float:  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
