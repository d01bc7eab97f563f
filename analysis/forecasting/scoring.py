"""A projection against what came: `scores`. Losses in nats; M later points."""

import numpy as np

from trajlab.analysis.forecasting.projection import Projection

HALF = 0.41
"""Half-width of a 50 % band over that of 90 % (Gaussian), for laws that give one band only."""
OF_ALL = ("mae", "inside", "width", "winkler", "crps", "half_inside")
"""Scores over all later points; those of the last one begin with ``final_``."""


def scores(
    p: Projection, halves: tuple[np.ndarray, np.ndarray] | None, loss_M: np.ndarray, level: float = 0.9
) -> dict[str, object]:
    """Final loss, coverage, width, Winkler's interval score, CRPS; NaN where the projection is refused.

    winkler = width + 2/(1 − level) · distance outside (Gneiting & Raftery 2007, doi:10.1198/016214506000001437). crps is
    twice the mean pinball loss at the quantiles .05, .25, .5, .75, .95, which approximates the integral over all.
    """
    final = float(loss_M[-1])
    if p.refused:
        absent = dict.fromkeys(("final_forecast", "final_low", "final_high", "final_error", "final_inside"), np.nan)
        return {"final_loss": final, **absent, **dict.fromkeys(OF_ALL, np.nan), "refused": p.refused}
    inside_M = (loss_M >= p.low_M) & (loss_M <= p.high_M)
    low50_M, high50_M = halves or (p.loss_M + HALF * (p.low_M - p.loss_M), p.loss_M + HALF * (p.high_M - p.loss_M))
    outside_M = np.maximum(p.low_M - loss_M, 0) + np.maximum(loss_M - p.high_M, 0)
    quantiles = zip((0.05, 0.25, 0.5, 0.75, 0.95), (p.low_M, low50_M, p.loss_M, high50_M, p.high_M), strict=True)
    pinball = [np.maximum(q * (loss_M - x_M), (q - 1) * (loss_M - x_M)).mean() for q, x_M in quantiles]
    return {
        "final_loss": final,
        "final_forecast": float(p.loss_M[-1]),
        "final_low": float(p.low_M[-1]),
        "final_high": float(p.high_M[-1]),
        "final_error": float(p.loss_M[-1] - final),
        "final_inside": float(inside_M[-1]),
        "mae": float(np.abs(p.loss_M - loss_M).mean()),
        "inside": float(inside_M.mean()),
        "width": float((p.high_M - p.low_M).mean()),
        "winkler": float((p.high_M - p.low_M + 2 / (1 - level) * outside_M).mean()),
        "crps": 2 * float(np.mean(pinball)),
        "refused": "",
        "half_inside": float(((loss_M >= low50_M) & (loss_M <= high50_M)).mean()),
    }
