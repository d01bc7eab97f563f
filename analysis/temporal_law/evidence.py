"""What a temporal law is fitted to: `Evidence`, or `ThinEvidence` where it isn't enough.

Shapes: K checkpoints, P positions, N groups of positions. ``n`` is millions of tokens. Losses in nats per token.
"""

from dataclasses import dataclass

import numpy as np

from trajlab.analysis.forecasting.schedule import after_warmup, stable_until
from trajlab.analysis.position_law import PositionLaw
from trajlab.analysis.temporal_law.surface import TOKENS_PER_N

MIN_CHECKPOINTS = 8
"""A temporal law needs at least so many checkpoints whose loss falls with the position **(ours)**."""
GROUPS = 32
"""Number of groups of positions in the joint fit: more would tell nothing new about a hyperbola's shape."""


class ThinEvidence(ValueError):
    """The checkpoints can't determine the law; the message says why."""


@dataclass(frozen=True)
class Evidence:
    """The checkpoints that a temporal law is fitted to, their losses averaged over groups of positions."""

    n_K: np.ndarray
    loss_KN: np.ndarray
    base_KN: np.ndarray
    """The position law's weights."""
    weights_KN: np.ndarray
    """The same weights, but smaller where a checkpoint is an outlier."""
    positions_P: np.ndarray
    mixing_PN: np.ndarray
    """Each group's average over positions; the law is averaged by it too, so grouping costs no bias."""
    values_3K: np.ndarray
    stderr_3K: np.ndarray
    seen_K: np.ndarray
    """Where the loss falls with the position."""
    n_sep: float | None

    @classmethod
    def of(cls, law: PositionLaw, tokens_K: np.ndarray, lr: np.ndarray | None) -> "Evidence":
        """The checkpoints after warm-up, in order of their tokens. Raises ThinEvidence where too few show a hyperbola."""
        tokens_K = np.asarray(tokens_K, float)
        if tokens_K.shape != law.a0_K.shape:
            raise ValueError(f"{law.a0_K.size} position laws, {tokens_K.size} token counts")
        lr_K = None if lr is None else np.asarray(lr, float)
        known_K = ~np.isin(law.flag_K, ("not_finite", "few_positions"))
        use_K = known_K & after_warmup(tokens_K, lr_K)
        seen_K = np.isin(law.flag_K, ("ok", "at_bound"))
        if (count := int((use_K & seen_K).sum())) < MIN_CHECKPOINTS:
            raise ThinEvidence(
                f"the loss falls with the position at {count} of {int(use_K.sum())} checkpoints after warm-up; "
                f"{MIN_CHECKPOINTS} are needed"
            )
        rows = np.flatnonzero(use_K)[np.argsort(tokens_K[use_K], kind="stable")]
        whole_P = (law.weights_KP[rows] > 0).all(0) & np.isfinite(law.loss_KP[rows]).all(0)
        if not whole_P.any():
            raise ThinEvidence("no position has a loss at every checkpoint")
        positions_P, weights_KP = law.positions_P[whole_P], law.weights_KP[rows][:, whole_P]
        mixing_PN, member_PN = _groups(positions_P, weights_KP.sum(0))
        weights_KN = weights_KP @ member_PN
        values = np.stack([law.a0_K, law.a1_K, law.a2_K])[:, rows]
        return cls(
            n_K=tokens_K[rows] / TOKENS_PER_N,
            loss_KN=law.loss_KP[rows][:, whole_P] @ mixing_PN,
            base_KN=weights_KN,
            weights_KN=weights_KN,
            positions_P=positions_P,
            mixing_PN=mixing_PN,
            values_3K=values,
            stderr_3K=law.stderr()[rows].T,
            seen_K=seen_K[rows],
            n_sep=stable_until(tokens_K, lr_K),
        )


def _groups(positions_P: np.ndarray, weights_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups of neighbouring positions, even in their logarithm: averages (P, N) and membership (P, N)."""
    edges = np.geomspace(positions_P.min(), positions_P.max(), GROUPS)
    _, group_P = np.unique(np.searchsorted(edges, positions_P), return_inverse=True)
    member_PN = (group_P[:, None] == np.arange(group_P.max() + 1)).astype(float)
    weighted_PN = weights_P[:, None] * member_PN
    return weighted_PN / weighted_PN.sum(0), member_PN
