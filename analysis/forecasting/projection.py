"""One law's view of the rest of a run: `Projection`, its band, and the reasons to refuse it.

Shapes: K checkpoints seen, M later ones, Q coefficients, B blocks, R bootstrap draws. Losses in nats per token.
"""

from dataclasses import dataclass

import numpy as np

DRAWS = 400
"""Bootstrap draws behind a band."""
LEVEL = 0.9
"""Share of the draws inside a band."""


@dataclass(frozen=True)
class Projection:
    """One law's loss at later tokens; NaN where the law is refused."""

    law: str
    loss_M: np.ndarray
    low_M: np.ndarray
    high_M: np.ndarray
    refused: str = ""
    """Why the evidence is too thin; empty where it is not."""


@dataclass(frozen=True)
class LinearFit:
    """A fit, linearised at its minimum: what a band is computed from."""

    scores_KQ: np.ndarray
    """Each checkpoint's residuals times their derivatives by the coefficients."""
    normal_QQ: np.ndarray
    """JᵀWJ of the fit."""
    gradient_MQ: np.ndarray
    """Derivatives of the projected losses by the coefficients."""
    residual_K: np.ndarray
    """Of the mean losses."""


def refusal(law: str, count: int, why: str) -> Projection:
    """A projection of ``count`` losses that isn't made."""
    nothing_M = np.full(count, np.nan)
    return Projection(law, nothing_M, nothing_M, nothing_M, why)


def judged(name: str, loss_M: np.ndarray, fit: LinearFit, seen_K: np.ndarray, rng: np.random.Generator) -> Projection:
    """The projection with its band, unless its law doesn't even describe the losses seen, or its band says nothing."""
    if not np.isfinite(loss_M).all():
        return refusal(name, len(loss_M), "the fitted law has no finite value there")
    low_M, high_M = band(loss_M, fit, rng)
    fell = float(np.ptp(seen_K))
    unexplained = float((fit.residual_K**2).sum() / max(((seen_K - seen_K.mean()) ** 2).sum(), 1e-300))
    if unexplained > 0.5:
        return refusal(name, len(loss_M), f"the law explains {1 - unexplained:.0%} of the part it was fitted on")
    if (width := float((high_M - low_M).max())) > fell:
        return refusal(name, len(loss_M), f"the band is {width:.2g} nats wide; the loss moved by {fell:.2g} so far")
    return Projection(name, loss_M, low_M, high_M)


def band(predicted_M: np.ndarray, fit: LinearFit, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of the prediction under a wild bootstrap: blocks of neighbouring checkpoints' scores get random signs.

    What is predicted is a measured loss, so the checkpoints' own scatter is in it.
    """
    count, q = fit.scores_KQ.shape
    block_K = np.arange(count) // int(np.ceil(count ** (1 / 3)))
    scores_BQ = np.stack([fit.scores_KQ[block_K == b].sum(0) for b in np.unique(block_K)])
    signs_RB = rng.choice([-1.0, 1.0], size=(DRAWS, len(scores_BQ))) * np.sqrt(count / max(count - q, 1))
    scale_Q = np.sqrt(np.maximum(np.diag(fit.normal_QQ), 1e-300))
    inverse_QQ = np.linalg.pinv(fit.normal_QQ / np.outer(scale_Q, scale_Q), rcond=1e-12, hermitian=True)
    moved_RQ = signs_RB @ (scores_BQ / scale_Q) @ inverse_QQ / scale_Q
    spread = 1.4826 * np.median(np.abs(fit.residual_K))  # an outlier at the start is no noise of the end
    draws_RM = predicted_M + moved_RQ @ fit.gradient_MQ.T + spread * rng.normal(size=(DRAWS, 1))
    low_M, high_M = np.quantile(draws_RM, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low_M, high_M
