"""Standard errors over windows that share text: white tokens cut with and without overlap, documents of several windows."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.averaging_gain import gain
from trajlab.analysis.stability import stability
from trajlab.analysis.statistics.text_errors import crossed_interval, window_errors

CONTEXT, STRIDE = 256, 64


def overlapping(shape: tuple[int, ...], windows: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of white noise over windows that start every 64 tokens and are 256 long: (…, W)."""
    pieces = rng.standard_normal((*shape, windows + CONTEXT // STRIDE - 1)) * np.sqrt(STRIDE)
    return np.lib.stride_tricks.sliding_window_view(pieces, CONTEXT // STRIDE, axis=-1).sum(-1)


def frame(nll_KW: np.ndarray, **columns: object) -> pd.DataFrame:
    k, windows = nll_KW.shape
    loss = nll_KW.mean(1) / CONTEXT
    base = {"interval": np.arange(k), "tokens": 1000 * np.arange(k), "loss": loss, "token_count": CONTEXT * windows}
    return pd.DataFrame({**base, "window_nll": list(nll_KW), **columns})


def z_of_a_flat_curve(windows: int, **columns: object) -> np.ndarray:
    rng = np.random.default_rng(0)
    z = []
    for _ in range(60):
        text_W = 300 + 5 * rng.standard_normal(windows)  # windows differ much; the same text at every interval
        telemetry = stability(frame(text_W + overlapping((12,), windows, rng), **columns))
        z.append((telemetry["delta"] / telemetry["delta_se"]).to_numpy()[1:])
    return np.concatenate(z)


@pytest.mark.parametrize("columns", [{}, {"window_overlap": 4}], ids=["overlap unknown", "overlap known"])
def test_overlapping_windows_have_a_z_of_one(columns: dict[str, int]) -> None:
    z = z_of_a_flat_curve(128, **columns)
    assert z.std() == pytest.approx(1, abs=0.12)  # 2.0 where windows count as independent
    assert 0.01 < (z > 2).mean() < 0.05


def test_the_error_of_a_gain_is_as_honest() -> None:
    rng = np.random.default_rng(1)
    z = []
    for _ in range(60):
        raw, average = (
            frame(overlapping((12,), 128, rng), variant=v).assign(experiment="e", run="seed=0", seed=0, split="valid")
            for v in ("raw", "lawa5")
        )
        gains = gain(pd.concat([raw, average], ignore_index=True))
        z.append(gains["gain"] / gains["gain_se"])
    assert np.concatenate(z).std() == pytest.approx(1, abs=0.12)


def test_separate_windows_keep_their_error() -> None:
    change_DW = np.random.default_rng(2).standard_normal((200, 64))
    plain_D = change_DW.std(1, ddof=1) / 8
    np.testing.assert_allclose(window_errors(change_DW), plain_D, rtol=0.05)
    np.testing.assert_allclose(window_errors(change_DW, 1), plain_D, rtol=0.05)


def test_documents_that_reach_over_windows_are_seen() -> None:
    """Each document spans three windows and changes as a whole; no overlap tells of it."""
    rng = np.random.default_rng(3)
    change_DW = np.repeat(rng.standard_normal((400, 40)), 3, axis=1) + 0.5 * rng.standard_normal((400, 120))
    z = change_DW.mean(1) / window_errors(change_DW, 1)
    assert z.std() == pytest.approx(1, abs=0.12)


def test_windows_without_any_change_have_no_error() -> None:
    assert window_errors(np.zeros((3, 8))).tolist() == [0, 0, 0]
    assert np.isnan(window_errors(np.zeros((1, 1)))).all()


@pytest.mark.parametrize("seed_sd", [0.0, 0.3])
def test_the_crossed_interval_covers_what_other_seeds_on_other_text_would_give(seed_sd: float) -> None:
    rng = np.random.default_rng(4)
    inside, alone = [], []
    for _ in range(400):
        y_SW = 3 + seed_sd * rng.standard_normal((5, 1)) + rng.standard_normal((1, 40)) + rng.standard_normal((5, 40))
        found = crossed_interval(y_SW)
        inside.append(found.low <= 3 <= found.high)
        alone.append(abs(found.mean - 3) <= 2.776 * found.se_seeds)
    assert 0.92 <= np.mean(inside) <= 0.99
    assert np.mean(alone) < 0.9, "seeds alone say nothing of other text"


def test_one_seed_has_no_crossed_interval() -> None:
    with pytest.raises(ValueError, match="1 seeds and 4 windows"):
        crossed_interval(np.zeros((1, 4)))
