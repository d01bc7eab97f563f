"""Is a curve less steady than the steadiest curve of its shape with the same noise? (docs/methods.md §6)

Everything that a smooth fall and a turn show by themselves (volatility that shrinks with the slope, rises after the turn, no
level stretch) must be taken off before a run is called unstable. `steadiest` is that smooth curve: it falls to its turn and
rises from there. Legend: B draws, S seeds, K intervals.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from trajlab.analysis.stability import stability
from trajlab.analysis.statistics.grids import complete_grid

WINDOW = 5
"""Intervals of a window of volatility, as in the published reading."""


def detrended_volatility(loss_XK: NDArray[np.float64], window: int = WINDOW) -> NDArray[np.float64]:
    """Standard deviation of the residuals from a straight line through each ``window`` losses, (…, K − window + 1).

    Divisor window − 2. A straight curve has none, however steep; the published one is the sd of the losses themselves
    and measures the slope.

    >>> float(detrended_volatility(np.arange(9.0)).max().round(12))
    0.0
    """
    beside_line = np.linalg.qr(np.vander(np.arange(window, dtype=float), window, increasing=True))[0][:, 2:]
    k = loss_XK.shape[-1] - window + 1
    parts = (sum(c * loss_XK[..., i : i + k] for i, c in enumerate(contrast)) for contrast in beside_line.T)
    return np.asarray(np.sqrt(sum(np.square(part) for part in parts) / (window - 2)))


def steadiest(loss_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """The curve nearest to ``loss_K`` (least squares) that falls to one place and rises from there."""
    error_T = _falling_errors(loss_K) + _falling_errors(loss_K[::-1])[::-1]
    t = int(error_T.argmin())
    parts = [isotonic_regression(loss_K[:t], increasing=False).x] if t else []
    parts += [isotonic_regression(loss_K[t:]).x] if t < len(loss_K) else []
    return np.concatenate(parts)


def _falling_errors(y_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared error of the best falling fit of each beginning of the curve, of 0 to K values; neighbours are pooled once."""
    blocks: list[tuple[float, int]] = []
    errors, error = [0.0], 0.0
    for value in y_K.tolist():
        mean, size = value, 1
        while blocks and blocks[-1][0] < mean:
            other, count = blocks.pop()
            error += size * count / (size + count) * (other - mean) ** 2
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
        errors.append(error)
    return np.array(errors)


@dataclass(frozen=True)
class VolatilityEffect:
    """Where the detrended volatility exceeds what a steady curve shows."""

    ratio: float
    """Largest volatility (mean over seeds) of an interval, ÷ what steady runs have there (geometric mean)."""
    p: float
    """Share of simulated steady runs that exceed their own profile as far."""


def volatility_effect(loss_SK: NDArray[np.float64], draws: int = 399, seed: int = 0) -> VolatilityEffect:
    """Volatility of curves without their initialisation (S, K), against steady curves with equal noise.

    Noise is AR(1) with the spread and the lag-one autocorrelation that seeds have around their mean, the same at all
    intervals; the smooth curve is the steadiest one through the mean. What all seeds share and the steady curve has not
    counts as instability. Raises ValueError under two seeds or fewer than ``WINDOW`` + 2 intervals.
    """
    n, k = loss_SK.shape
    if n < 2 or k < WINDOW + 2:
        raise ValueError(f"{n} seeds and {k} intervals after initialisation: at least 2 and {WINDOW + 2} are needed")
    mean_K = loss_SK.mean(0)
    noise_SK = (loss_SK - mean_K) * np.sqrt(n / (n - 1))
    base_K = _smooth(mean_K)
    rng = np.random.default_rng(seed)
    simulated_BSK = base_K + _ar1_like(noise_SK, draws, rng)
    own_K, null_BK = _profile(loss_SK[None])[0], _profile(simulated_BSK)
    middle_K = null_BK.mean(0)
    observed, null_B = (np.square(np.maximum(p - middle_K, 0)).sum(-1) for p in (own_K, null_BK))
    ratio = float(np.exp((own_K - middle_K).max()))
    return VolatilityEffect(ratio, float((1 + (null_B >= observed).sum()) / (1 + draws)))


def _smooth(mean_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """The steadiest curve with its steps drawn as straight lines between the middles of its level stretches."""
    fit_K = steadiest(mean_K)
    edges = np.flatnonzero(np.r_[True, np.diff(fit_K) != 0, True])
    middles = (edges[:-1] + edges[1:] - 1) / 2
    return np.interp(np.arange(len(fit_K)), middles, fit_K[edges[:-1]])


def _ar1_like(noise_SK: NDArray[np.float64], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """AR(1) of the changes' spread and correlation; a seed's own level is no volatility and is left out.

    Estimated from second differences, which neither a level nor a slope of a seed's own moves: for AR(1) their lag-zero and
    lag-one products give the autocorrelation.
    """
    change_SK = np.diff(noise_SK, axis=1)
    products = [float((change_SK[:, j:] * change_SK[:, : change_SK.shape[1] - j]).mean()) for j in (0, 1)]
    phi = float(np.clip(1 + 2 * products[1] / products[0], 0.0, 0.99)) if products[0] > 0 else 0.0
    sd = np.sqrt(products[0] / 2 / (1 - phi))
    e_BSK = rng.standard_normal((draws, *noise_SK.shape))
    for t in range(1, noise_SK.shape[1]):
        e_BSK[..., t] = phi * e_BSK[..., t - 1] + np.sqrt(1 - phi**2) * e_BSK[..., t]
    return np.asarray(sd * e_BSK)


def _profile(loss_BSK: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln of the volatility over windows, mean over seeds; a floor of rounding keeps a straight line finite."""
    return np.asarray(np.log(detrended_volatility(loss_BSK).mean(-2) + 1e-12))


@dataclass(frozen=True)
class ExcessBackslides:
    """Rises beyond twice their error, and how many of them a steady run would show."""

    observed_S: NDArray[np.float64]
    expected_S: NDArray[np.float64]
    """Mean over simulated steady runs."""
    spread: float
    """Standard deviation, over simulated runs, of the mean over seeds: all seeds share the validation text."""


def excess_backslides(
    intervals: pd.DataFrame, errors: float = 2.0, draws: int = 400, seed: int = 0
) -> ExcessBackslides:
    """Rises beyond ``errors`` standard errors per seed, from interval 1 on, beside those of steady runs.

    A steady run is the seed's steadiest curve plus the measurement error that its windows have, drawn once for all seeds.
    Raises ValueError where an interval has no stored windows: without them nobody knows which rise is beyond its error.
    """
    telemetry = stability(intervals)
    after = telemetry[telemetry["interval"] > telemetry["interval"].min() + 1]
    if after.empty or after["delta_se"].isna().any():
        raise ValueError("no stored windows (window_nll), so the error of a rise is not known")
    loss_SK = complete_grid(intervals, "loss", "interval", "seed", min_subjects=1).to_numpy()[:, 1:]
    se_SK = complete_grid(after, "delta_se", "interval", "seed", min_subjects=1).to_numpy()
    return rises_beyond(loss_SK, se_SK, errors, draws, seed)


def rises_beyond(
    loss_SK: NDArray[np.float64], se_SK: NDArray[np.float64], errors: float = 2.0, draws: int = 400, seed: int = 0
) -> ExcessBackslides:
    """As `excess_backslides`, of losses without their initialisation and the errors of their K − 1 changes."""
    base_SK = np.stack([steadiest(loss_K) for loss_K in loss_SK])
    rng = np.random.default_rng(seed)
    change_BSK = np.diff(base_SK, axis=1) + _shared_error(se_SK, draws, rng)
    counts_BS = (change_BSK > errors * se_SK).sum(-1)
    observed_S = (np.diff(loss_SK, axis=1) > errors * se_SK).sum(-1).astype(float)
    return ExcessBackslides(observed_S, counts_BS.mean(0), float(counts_BS.mean(1).std(ddof=1)))


def _shared_error(se_SK: NDArray[np.float64], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Errors of the changes: neighbours share a checkpoint, and so correlate by −½."""
    e_BK = rng.standard_normal((draws, se_SK.shape[1] + 1))
    return np.asarray(se_SK * (np.diff(e_BK, axis=1) / np.sqrt(2))[:, None])
