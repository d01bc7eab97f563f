"""The law on a grid of shapes as a Gaussian regression: `Conditioned`, with a smooth misfit beside the noise.

No law of three terms holds exactly, and its error is smooth: it persists over a part of the logarithm of the area, and it is
largest where the loss falls fastest. It is modelled as a Gaussian process, so that a forecast starts from the losses seen last, and
its spread grows with the distance from them. All in closed form.
Shapes: R rows of a run, K points seen (means over neighbouring rows), M rows ahead, G shapes.
"""

from dataclasses import dataclass

import numpy as np

from trajlab.analysis.forecasting.response import COLUMNS_OF, Basis

MISFIT, MISFIT_LENGTH = 0.012, 0.7
"""Standard deviation of the misfit at the horizon in nats (times x^(−1/2) before), and its length in ln x.

In sight when chosen: published runs of 9 models; half the misfit gave worse forecasts of cosines (0.026 for 0.022 nats)."""
LEAST_NOISE = 1e-4
"""Of a loss, nats: exact curves need a little to stay solvable."""
POINTS = 48
"""Points that the losses seen are averaged into: more tell nothing new about three coefficients."""
TYPICAL, NATS = 3.2, (1.5, 7.0)
"""The level of the archived curves, nats per token, and levels that are taken for that unit **(ours)**. A curve beyond them is in
another (nats or bits per byte, a perplexity): it is scaled to the typical level, since the constants here and the prior are in nats.

Scaling every curve would be simpler, but what a cooldown brings doesn't grow with the loss: it cost a third in the contest."""
EARLIEST = 0.04
"""Rows before this share of the area seen so far are left out: no law of three terms holds there."""


@dataclass(frozen=True)
class Points:
    """The losses seen, averaged over neighbouring rows."""

    mean_KR: np.ndarray
    """What takes rows to points."""
    loss_K: np.ndarray
    """In units of ``unit``, as is the noise."""
    share_K: np.ndarray
    noise_K: np.ndarray
    """Standard deviation of each point's noise."""
    noise: float
    """Of a single loss."""
    unit: float
    """1 for nats per token (see `NATS`)."""

    @classmethod
    def of(cls, basis: Basis, loss_R: np.ndarray, seen: int) -> "Points":
        """Of the first ``seen`` rows. Raises ValueError where fewer than 3 losses are usable."""
        row_R = np.arange(len(loss_R))
        use_R = (row_R < seen) & (row_R >= basis.first) & np.isfinite(loss_R) & (basis.share_R > 0)
        if use_R.sum() < 3:
            raise ValueError(f"{int(use_R.sum())} losses after the warm-up; a forecast needs 3")
        late_R = use_R & (basis.share_R >= EARLIEST * basis.share_R[use_R].max())
        use_R = late_R if late_R.sum() >= 3 else use_R
        rows = np.flatnonzero(use_R)
        root = np.sqrt(basis.share_R[rows])
        edges = np.linspace(root[0], root[-1], POINTS + 1)[1:-1]
        group = np.searchsorted(edges, root, side="right") if len(rows) > POINTS else np.arange(len(rows))
        member_KR = np.zeros((len(np.unique(group)), len(loss_R)))
        member_KR[np.unique(group, return_inverse=True)[1], rows] = 1
        count_K = member_KR.sum(1)
        mean_KR = member_KR / count_K[:, None]
        unit = unit_of(loss_R[rows])
        noise = noise_of(loss_R[rows] / unit)
        return cls(
            mean_KR,
            mean_KR[:, rows] @ loss_R[rows] / unit,
            mean_KR[:, rows] @ basis.share_R[rows],
            noise * np.sqrt(1 / count_K + 0.1),  # a tenth of the variance stays: neighbours' noise is not independent
            noise,
            unit,
        )


def unit_of(loss_K: np.ndarray) -> float:
    """1 for nats per token, by the level of the last tenth; otherwise that level's ratio to the typical one."""
    level = float(np.median(loss_K[-max(3, len(loss_K) // 10) :]))
    return 1.0 if NATS[0] <= level <= NATS[1] else level / TYPICAL


def noise_of(loss_K: np.ndarray) -> float:
    """Robust standard deviation of a loss about its neighbours, from second differences; nats."""
    if len(loss_K) < 5:
        return 0.0015  # about that of a validation loss over a million tokens
    bend = np.diff(loss_K, 2)
    return max(LEAST_NOISE, float(1.4826 * np.median(np.abs(bend - np.median(bend))) / np.sqrt(6)))


@dataclass(frozen=True)
class Regression:
    """The posterior for each shape."""

    evidence_G: np.ndarray
    """Log marginal likelihood, up to a constant that all shapes share."""
    coefficients_G3: np.ndarray
    """E less the last point's loss, A and B."""
    mean_GM: np.ndarray
    variance_GM: np.ndarray
    """Of the law with its misfit, without the noise of a measured loss."""


@dataclass(frozen=True)
class Conditioned:
    """What the points say of each shape's coefficients, and these of the rows ahead: all that does not depend on a prior."""

    gram_G33: np.ndarray
    """Products of the whitened columns, with each other and (below) with the whitened losses."""
    moment_G3: np.ndarray
    square: float
    slope_GM3: np.ndarray
    """What a coefficient adds to a row ahead, beyond what the misfit of the points takes from it."""
    offset_M: np.ndarray
    misfit_M: np.ndarray
    """Variance of the misfit that the points leave open."""

    @classmethod
    def of(cls, basis: Basis, points: Points, ahead_M: np.ndarray) -> "Conditioned":
        """Of some points; ``ahead_M`` are rows to predict."""
        amplitude_K, log_K = MISFIT * points.share_K**-0.5, np.log(points.share_K)
        x_M = np.maximum(basis.share_R[ahead_M], 1e-9)
        amplitude_M, log_M = MISFIT * x_M**-0.5, np.log(x_M)
        cov_KK = np.outer(amplitude_K, amplitude_K) * np.exp(-np.abs(log_K[:, None] - log_K) / MISFIT_LENGTH)
        cov_KM = np.outer(amplitude_K, amplitude_M) * np.exp(-np.abs(log_K[:, None] - log_M) / MISFIT_LENGTH)
        whiten_KK = np.linalg.inv(np.linalg.cholesky(cov_KK + np.diag(points.noise_K**2)))
        cross_KM = whiten_KK @ cov_KM
        level = points.loss_K[-1]
        loss_K = whiten_KK @ (points.loss_K - level)
        columns_RC = basis.columns()  # a column serves many shapes, so each is multiplied once
        seen_KC = whiten_KK @ (points.mean_KR @ columns_RC)
        slope_MC = columns_RC[ahead_M] - cross_KM.T @ seen_KC
        gram_CC, moment_C = seen_KC.T @ seen_KC, seen_KC.T @ loss_K
        return cls(
            gram_CC[COLUMNS_OF[:, :, None], COLUMNS_OF[:, None, :]],
            moment_C[COLUMNS_OF],
            float(loss_K @ loss_K),
            slope_MC[:, COLUMNS_OF].transpose(1, 0, 2),
            level + cross_KM.T @ loss_K,
            np.maximum(amplitude_M**2 - (cross_KM**2).sum(0), 0),
        )

    def under(self, mean_G3: np.ndarray, sd_G3: np.ndarray) -> Regression:
        """The posterior where E, A and B are Gaussian with these means and spreads."""
        precision_G33 = self.gram_G33 + np.eye(3) / sd_G3[:, None, :] ** 2
        cov_G33 = np.linalg.inv(precision_G33)
        fitted_G3 = np.einsum("gij,gj->gi", self.gram_G33, mean_G3)
        shift_G3 = np.einsum("gij,gj->gi", cov_G33, self.moment_G3 - fitted_G3)
        miss_G = self.square + (mean_G3 * (fitted_G3 - 2 * self.moment_G3)).sum(1)
        fit_G = miss_G - np.einsum("gi,gij,gj->g", shift_G3, precision_G33, shift_G3)
        coefficients_G3 = mean_G3 + shift_G3
        return Regression(
            -0.5 * fit_G - 0.5 * np.linalg.slogdet(precision_G33)[1] - np.log(sd_G3).sum(1),
            coefficients_G3,
            self.offset_M + np.einsum("gmi,gi->gm", self.slope_GM3, coefficients_G3),
            self.misfit_M + np.einsum("gmi,gij,gmj->gm", self.slope_GM3, cov_G33, self.slope_GM3, optimize=True),
        )
