"""The position law itself: `PositionLaw`, its curve and its mean over positions.

Shapes: K checkpoints, P positions. Losses in nats per token.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import digamma


@dataclass(frozen=True)
class PositionLaw:
    """Hyperbolas of K checkpoints. Read the parameters together with `flag_K`."""

    positions_P: np.ndarray
    a0_K: np.ndarray
    """Gap between the first positions and the limit, in nats."""
    a1_K: np.ndarray
    """Inverse length scale, per position; NaN where the loss does not depend on the position."""
    a2_K: np.ndarray
    """The loss that long contexts converge to, in nats."""
    covariance_K33: np.ndarray
    """Covariance of (a0, a1, a2)."""
    r2_K: np.ndarray
    """Share of the weighted variance over positions that the law explains."""
    sse_K: np.ndarray
    """Weighted sum of squared residuals."""
    flag_K: np.ndarray
    """``ok``, ``flat`` (no better than a constant), ``rising`` (a0 < 0), ``at_bound`` (a1 ran to the edge of the search),
    ``few_positions`` (under four) or ``not_finite``; the last two have NaN parameters."""
    loss_KP: np.ndarray
    weights_KP: np.ndarray

    @property
    def ok_K(self) -> np.ndarray:
        """Which fits need no reservation (a mask)."""
        return self.flag_K == "ok"

    def stderr(self) -> np.ndarray:
        """Standard errors of (a0, a1, a2), of shape (K, 3)."""
        return np.sqrt(np.diagonal(self.covariance_K33, axis1=1, axis2=2))

    def predict(self, positions: np.ndarray | None = None) -> np.ndarray:
        """The law's loss at each checkpoint and position (K, P); at the fit's own positions unless others are given."""
        at_P = self.positions_P if positions is None else np.asarray(positions, float)
        return hyperbola(self.a0_K, self.a1_K, self.a2_K, at_P)

    def mean(self, n: int | np.ndarray) -> np.ndarray:
        """The mean of the law over positions 1 … n, in closed form, of shape (K,)."""
        return mean_hyperbola(self.a0_K, self.a1_K, self.a2_K, n)

    def table(self) -> pd.DataFrame:
        """One row per checkpoint."""
        values = {"a0": self.a0_K, "a1": self.a1_K, "a2": self.a2_K}
        errors = {f"{name}_se": self.stderr()[:, j] for j, name in enumerate(values)}
        return pd.DataFrame({**values, **errors, "r2": self.r2_K, "sse": self.sse_K, "flag": self.flag_K})


def hyperbola(a0_K: np.ndarray, a1_K: np.ndarray, a2_K: np.ndarray, positions_P: np.ndarray) -> np.ndarray:
    """a0 / (1 + a1·i) + a2 of shape (K, P); a2 where a0 is 0, whatever a1."""
    a0_K1, a1_K1, a2_K1 = (np.atleast_1d(np.asarray(a, float))[:, None] for a in (a0_K, a1_K, a2_K))
    return np.where(a0_K1 == 0, a2_K1, a0_K1 / (1 + a1_K1 * positions_P) + a2_K1)


def mean_hyperbola(a0: np.ndarray, a1: np.ndarray, a2: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """a2 + a0/(a1·n)·[ψ(n + 1 + 1/a1) − ψ(1 + 1/a1)], the mean of the hyperbola over positions 1 … n.

    >>> round(float(mean_hyperbola(2.0, 0.1, 3.0, 4)), 12) == round(3 + 2 * sum(1 / (1 + 0.1 * i) for i in range(1, 5)) / 4, 12)
    True
    """
    a0, a1, a2 = (np.asarray(a, float) for a in (a0, a1, a2))
    with np.errstate(divide="ignore", invalid="ignore"):
        x = 1 / a1
        mean = a2 + a0 * x / n * _digamma_gap(1 + x, np.asarray(n, float))
    return np.where(a0 == 0, a2, mean)


def _digamma_gap(z: np.ndarray, n: np.ndarray) -> np.ndarray:
    """ψ(z + n) − ψ(z). For large z the two nearly cancel: there the difference of their asymptotic series is taken."""
    y = z + n
    series = np.log1p(n / z) + n / (2 * z * y) + n * (z + y) / (12 * z**2 * y**2)
    series -= (z**-4 - y**-4) / 120 - (z**-6 - y**-6) / 252
    return np.where(z > 40, series, digamma(y) - digamma(z))
