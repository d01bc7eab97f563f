"""The budget study's claims of instability: volatility, backslides, no stable phase (docs/methods.md §6)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from trajlab.analysis.claims.claim import CONTRADICTED, SUPPORTED, UNDECIDED, Claim, mean_interval, not_testable
from trajlab.analysis.conditions import Condition
from trajlab.analysis.stability import stability, stable_phase
from trajlab.analysis.statistics.grids import complete_grid
from trajlab.analysis.steadiness import ExcessBackslides, excess_backslides, steadiest, volatility_effect

ALPHA = 0.05
RECURRENT = 2.0
"""Backslides of a seed that count as recurrent **(ours)**."""


def steadiness_claims(condition: Condition) -> list[Claim]:
    """Each only where a smooth curve with the same noise would not show the same."""
    frame = condition.intervals
    return [_volatility(frame), _backslides(frame), _stable_phase(frame)]


def _volatility(frame: pd.DataFrame) -> Claim:
    loss_SK = complete_grid(frame, "loss", "interval", "seed", min_subjects=1).to_numpy()[:, 1:]
    return volatility_claim(loss_SK)


def volatility_claim(loss_SK: NDArray[np.float64]) -> Claim:
    """Of losses without their initialisation."""
    claim = "interval effect on rolling volatility, detrended"
    try:
        effect = volatility_effect(loss_SK)
    except ValueError as e:
        return not_testable(claim, "significant", str(e))
    return Claim(
        claim,
        "significant",
        f"up to {effect.ratio:.2f} times that of a steady run, p = {effect.p:.3g}",
        margin="p ≤ .05 against a smooth curve with the same noise",
        holds="seeds",
        check="volatility",
        decided=SUPPORTED if effect.p <= ALPHA else UNDECIDED,
        reason="" if effect.p <= ALPHA else "no excess seen; that there is none can't be shown this way",
    )


RISES = "recurrent backslides: rises beyond 2 se per seed, less those of a steady run"


def _backslides(frame: pd.DataFrame) -> Claim:
    try:
        found = excess_backslides(frame)
    except ValueError as e:
        return not_testable(RISES, "in the runs", str(e))
    return backslides_claim(found)


def backslides_claim(found: ExcessBackslides) -> Claim:
    """At least `RECURRENT` more than a steady run shows."""
    excess_S = found.observed_S - found.expected_S
    if len(excess_S) < 2:
        return not_testable(RISES, "in the runs", "one seed: its spread is unknown")
    mean = float(excess_S.mean())
    low, high = mean_interval(excess_S)
    half = float(np.hypot((high - low) / 2, 1.96 * found.spread))
    words = f"{found.observed_S.min():.0f} to {found.observed_S.max():.0f} per seed, {mean:+.1f} beyond a steady run's"
    return Claim(
        RISES,
        f"in the runs (≥ {RECURRENT:g})",
        words,
        mean - half,
        mean + half,
        (RECURRENT, np.inf),
        f"at least {RECURRENT:g} more than a smooth curve with the same measurement error has",
        "seeds, text",
        "backslides",
    )


NO_PHASE = "no stable phase: share of seeds without one"


def _stable_phase(frame: pd.DataFrame) -> Claim:
    telemetry = stability(frame)
    if telemetry.loc[telemetry["delta"].notna(), "delta_se"].isna().any():
        return not_testable(NO_PHASE, "none", "no stored windows (window_nll), so the error of a rise is not known")
    runs = telemetry.sort_values("interval").groupby("seed")
    return stable_phase_claim([(run["loss"].to_numpy(float), run["delta_se"].to_numpy(float)) for _, run in runs])


def stable_phase_claim(curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> Claim:
    """Of each seed's losses and the standard errors of their changes.

    A curve still on its way down has no stable phase either, however smooth it is: each seed is held against its own steadiest
    curve with the errors of its own windows.
    """
    stable_S = np.array([stable_phase(loss_K, error_K).any() for loss_K, error_K in curves])
    smooth = [(np.r_[loss_K[0], steadiest(loss_K[1:])], error_K) for loss_K, error_K in curves]
    smooth_S = np.array([stable_phase(loss_K, error_K).any() for loss_K, error_K in smooth])
    n, without = int(smooth_S.sum()), int((~stable_S[smooth_S]).sum())
    if not n:
        return not_testable(NO_PHASE, "none", "a steady curve of the same shape has none either")
    interval = stats.binomtest(without, n).proportion_ci(1 - ALPHA, method="exact")
    low, high = float(interval.low), float(interval.high)
    return Claim(
        NO_PHASE,
        "none",
        without / n,
        low,
        high,
        (0.5, np.inf),
        "in most seeds whose steady curve has one",
        "seeds",
        "stable phase",
        decided=SUPPORTED if low > 0.5 else CONTRADICTED if high < 0.5 else UNDECIDED,
    )
