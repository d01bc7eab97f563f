"""What a forecast is for: `decide`, whether a run reaches its target and what its remaining tokens buy.

Probabilities are read off the calibrated quantiles (5, 25, 75, 95 %), linear in between and with Gaussian tails beyond, so
they are as calibrated as the bands are. The forecast isn't taken for the median: where errors are skewed it isn't. Losses in nats.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from trajlab.analysis.forecasting.calibration import LEVELS
from trajlab.analysis.forecasting.default import Outlook, Tables, outlook


@dataclass(frozen=True)
class Decision:
    """What to weigh before going on."""

    reaches: float
    """Probability that the final loss lies at or under the target."""
    bought: float
    """Expected fall of the loss from the last one measured to the end, nats."""
    cooldown: float | None
    """The loss that a linear cooldown to zero started now would end at; None where the rate is not known."""
    cooldown_low: float | None
    cooldown_high: float | None


def probability_under(o: Outlook, target: float) -> float:
    """Probability that the last loss of the outlook is at most ``target``."""
    (low_M, high_M), (low50_M, high50_M) = o.band(), o.band(0.5)
    at = np.array([low_M[-1], low50_M[-1], high50_M[-1], high_M[-1]])
    if target < at[0]:
        return float(norm.cdf(norm.ppf(LEVELS[0]) * (o.loss_M[-1] - target) / max(o.loss_M[-1] - at[0], 1e-12)))
    if target > at[3]:
        return float(norm.cdf(norm.ppf(LEVELS[3]) * (target - o.loss_M[-1]) / max(at[3] - o.loss_M[-1], 1e-12)))
    return float(np.interp(target, at, LEVELS))


def decide(
    step_K: np.ndarray,
    loss_K: np.ndarray,
    step_M: np.ndarray,
    lr_R: np.ndarray | None,
    target: float,
    *,
    cooldown: float = 0.2,
    tables: Tables | None = None,
) -> Decision:
    """For a run seen up to ``step_K[-1]`` that is planned to go on over ``step_M`` at ``lr_R`` (over all rows).

    ``cooldown`` is the length of a cooldown started now, as a share of the steps so far. Raises ValueError where too little
    was seen for a forecast.
    """
    planned = outlook(step_K, loss_K, step_M, lr_R, tables)
    reaches, bought = probability_under(planned, target), float(loss_K[-1] - planned.loss_M[-1])
    if lr_R is None or not lr_R[len(step_K) - 1] > 0:
        return Decision(reaches, bought, None, None, None)
    now = lr_R[len(step_K) - 1]
    down_M = np.linspace(0, 1, 21)[1:]
    steps_M = step_K[-1] * (1 + cooldown * down_M)
    cooled = outlook(step_K, loss_K, steps_M, np.concatenate([lr_R[: len(step_K)], now * (1 - down_M)]), tables)
    low_M, high_M = cooled.band()
    return Decision(reaches, bought, *(float(v_M[-1]) for v_M in (cooled.loss_M, low_M, high_M)))
