"""The budget study's claims of instability: volatility, backslides, no stable phase (docs/methods.md §6)."""

import numpy as np
import pandas as pd
from scipy import stats

from trajlab.analysis.claims.claim import CONTRADICTED, SUPPORTED, UNDECIDED, Claim, mean_interval, not_testable
from trajlab.analysis.conditions import Condition
from trajlab.analysis.stability import stability
from trajlab.analysis.statistics.grids import complete_grid
from trajlab.analysis.steadiness import excess_backslides, steadiest, volatility_effect

ALPHA = 0.05
RECURRENT = 2.0
"""Backslides of a seed that count as recurrent **(ours)**."""


def steadiness_claims(condition: Condition) -> list[Claim]:
    """Each only where a smooth curve with the same noise would not show the same."""
    frame = condition.intervals
    return [_volatility(frame), _backslides(frame), _stable_phase(frame)]


def _volatility(frame: pd.DataFrame) -> Claim:
    claim = "interval effect on rolling volatility, detrended"
    loss_SK = complete_grid(frame, "loss", "interval", "seed", min_subjects=1).to_numpy()[:, 1:]
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


def _backslides(frame: pd.DataFrame) -> Claim:
    claim = "recurrent backslides: rises beyond 2 se per seed, less those of a steady run"
    try:
        found = excess_backslides(frame)
    except ValueError as e:
        return not_testable(claim, "in the runs", str(e))
    excess_S = found.observed_S - found.expected_S
    if len(excess_S) < 2:
        return not_testable(claim, "in the runs", "one seed: its spread is unknown")
    mean = float(excess_S.mean())
    low, high = mean_interval(excess_S)
    half = float(np.hypot((high - low) / 2, 1.96 * found.spread))
    words = f"{found.observed_S.min():.0f} to {found.observed_S.max():.0f} per seed, {mean:+.1f} beyond a steady run's"
    return Claim(
        claim,
        f"in the runs (≥ {RECURRENT:g})",
        words,
        mean - half,
        mean + half,
        (RECURRENT, np.inf),
        f"at least {RECURRENT:g} more than a smooth curve with the same measurement error has",
        "seeds, text",
        "backslides",
    )


def _stable_phase(frame: pd.DataFrame) -> Claim:
    """A curve still on its way down has no stable phase either, however smooth it is."""
    claim, published = "no stable phase: share of seeds without one", "none"
    telemetry = stability(frame)
    if telemetry.loc[telemetry["delta"].notna(), "delta_se"].isna().any():
        return not_testable(claim, published, "no stored windows (window_nll), so the error of a rise is not known")
    stable = telemetry.groupby("seed")["stable"].any()
    smooth = stability(_smoothed(frame)).groupby("seed")["stable"].any()
    without = int((~stable[smooth]).sum())
    if not smooth.any():
        return not_testable(claim, published, "a steady curve of the same shape has none either")
    interval = stats.binomtest(without, int(smooth.sum())).proportion_ci(1 - ALPHA, method="exact")
    low, high = float(interval.low), float(interval.high)
    verdict = SUPPORTED if low > 0.5 else CONTRADICTED if high < 0.5 else UNDECIDED
    return Claim(
        claim,
        published,
        without / int(smooth.sum()),
        low,
        high,
        (0.5, np.inf),
        "in most seeds whose steady curve has one",
        "seeds",
        "stable phase",
        decided=verdict,
    )


def _smoothed(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs as they would be without instability: each seed's steadiest curve, with the errors of its own windows."""
    parts = []
    for _, run in frame.sort_values("interval").groupby("seed"):
        loss_K = np.r_[run["loss"].iloc[0], steadiest(run["loss"].to_numpy(float)[1:])]
        parts.append(run.assign(loss=loss_K))
    return pd.concat(parts, ignore_index=True)
