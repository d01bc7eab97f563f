"""The laws that every forecast is held against: no law at all, and each law of `trajlab.analysis.curve_laws`.

They see the mean loss of a run and, where it is known, its learning rate.
Shapes: K checkpoints seen, M later ones. Losses in nats per token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trajlab.analysis.curve_laws import Law, laws
from trajlab.analysis.forecasting.projection import LEVEL, LinearFit, Projection, judged, refusal
from trajlab.analysis.forecasting.schedule import after_warmup

SPARE_POINTS = 2
"""Points beyond the number of parameters below which a law is not fitted **(ours)**."""
FALLEN = 0.98
"""A learning rate that never was below this share of its maximum tells nothing of the effect of its fall **(ours)**."""


@dataclass(frozen=True)
class MeanLoss:
    """What laws may see of a run: the checkpoints after the warm-up."""

    tokens_K: np.ndarray
    loss_K: np.ndarray
    """NaN where it was not measured: such a row only tells the learning rate."""
    lr_K: np.ndarray | None

    @classmethod
    def of(cls, tokens_K: np.ndarray, loss_K: np.ndarray, lr_K: np.ndarray | None) -> "MeanLoss":
        """Out of the losses at all checkpoints so far."""
        use_K = after_warmup(tokens_K, lr_K)
        loss_K = np.where(np.isfinite(loss_K), loss_K, np.nan)
        return cls(tokens_K[use_K], loss_K[use_K], None if lr_K is None else np.asarray(lr_K, float)[use_K])

    @property
    def known_K(self) -> np.ndarray:
        """Which checkpoints have a loss (a mask)."""
        return np.isfinite(self.loss_K)

    @property
    def losses(self) -> np.ndarray:
        """The losses that there are."""
        return self.loss_K[self.known_K]


def baselines(*, with_lr: bool = True, costly: bool = True) -> tuple[type[Law], ...]:
    """All laws in the order of the registry; without those that need a learning rate, or whose fit takes seconds."""
    return tuple(law for law in laws() if (with_lr or not law.needs_lr) and (costly or not law.costly))


def project_curve(
    seen: MeanLoss,
    tokens_M: np.ndarray,
    lr_M: np.ndarray | None,
    rng: np.random.Generator,
    laws: Sequence[type[Law]] | None = None,
) -> list[Projection]:
    """The loss at ``tokens_M`` by no law at all (``last value``) and by each law, with a band of 90 % or why it is refused.

    ``laws`` are all that the run allows unless given: without a learning rate those of the schedule are left out.
    """
    chosen = baselines(with_lr=seen.lr_K is not None) if laws is None else laws
    return [last_value(seen, len(tokens_M)), *(project_law(law, seen, tokens_M, lr_M, rng) for law in chosen)]


def last_value(seen: MeanLoss, count: int) -> Projection:
    """No law at all: the loss stays where it is, within the steps that it took of late."""
    losses = seen.losses
    if not len(losses):
        return refusal("last value", count, "no checkpoint after warm-up")
    loss_M = np.full(count, losses[-1])
    steps_K = np.diff(losses)[-5:] if len(losses) > 1 else np.zeros(1)
    half = np.quantile(np.abs(steps_K), LEVEL)
    return Projection("last value", loss_M, loss_M - half, loss_M + half)


def project_law(
    kind: type[Law], seen: MeanLoss, tokens_M: np.ndarray, lr_M: np.ndarray | None, rng: np.random.Generator
) -> Projection:
    """One law fitted to the losses seen; its band is linearised at the fit."""
    if why := _too_thin(kind, seen, lr_M):
        return refusal(kind.name, len(tokens_M), why)
    frame = pd.DataFrame({"curve": "run", "step": seen.tokens_K, "loss": seen.loss_K})
    if kind.needs_lr:
        frame["lr"] = seen.lr_K
    try:
        law = kind.fit(frame)
        loss_T, gradient_TQ = _over_the_run(law, seen, tokens_M, lr_M)
    except (ValueError, ArithmeticError, RuntimeError) as problem:
        return refusal(kind.name, len(tokens_M), str(problem))
    count, known_K = len(seen.loss_K), seen.known_K
    gradient_KQ, residual_K = gradient_TQ[:count][known_K], (seen.loss_K - loss_T[:count])[known_K]
    fit = LinearFit(residual_K[:, None] * gradient_KQ, gradient_KQ.T @ gradient_KQ, gradient_TQ[count:], residual_K)
    return judged(kind.name, loss_T[count:], fit, seen.losses, rng)


def _too_thin(kind: type[Law], seen: MeanLoss, lr_M: np.ndarray | None) -> str:
    """Why the evidence can't carry a law; empty where it can."""
    count = len(seen.losses)
    if count < len(kind.parameters) + SPARE_POINTS:
        return f"{count} checkpoints for {len(kind.parameters)} parameters"
    if not kind.needs_lr:
        return ""
    if seen.lr_K is None or lr_M is None:
        return "the learning rate to come is not known"
    if seen.lr_K.min() > FALLEN * seen.lr_K.max():
        return "the learning rate has not fallen yet, so its effect is unknown"
    return ""


def _over_the_run(
    law: Law, seen: MeanLoss, tokens_M: np.ndarray, lr_M: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """A law's loss and gradient over the whole run in one go, for a law of the schedule sums from its start."""
    tokens_T = np.concatenate([seen.tokens_K, tokens_M])
    lr_T = None if seen.lr_K is None or lr_M is None else np.concatenate([seen.lr_K, lr_M])
    return law.predict(tokens_T, lr_T), law.gradient(tokens_T, lr_T)
