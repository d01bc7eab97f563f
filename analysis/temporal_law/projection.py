"""The rest of a run by the temporal law, beside every baseline.

- `project`    losses so far → each law's loss at later tokens, with a band, or why it is refused
- `forecast`   `project` on the first part of a run, scored on the rest

Shapes: T checkpoints of the whole run, K early ones, M later ones, P positions, N groups of positions, Q coefficients.
Losses in nats per token.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from trajlab.analysis.curve_laws import Law
from trajlab.analysis.forecasting.baselines import MeanLoss, project_curve
from trajlab.analysis.forecasting.contest import Forecast, Split
from trajlab.analysis.forecasting.projection import LinearFit, Projection, judged, refusal
from trajlab.analysis.forecasting.schedule import decays_until, stable_until
from trajlab.analysis.position_law import PositionLaw, fit_position_law
from trajlab.analysis.temporal_law.evidence import ThinEvidence
from trajlab.analysis.temporal_law.fit import MIN_STABLE, fit_temporal_law
from trajlab.analysis.temporal_law.forms import Form, PiecewiseCosine
from trajlab.analysis.temporal_law.law import TemporalLaw
from trajlab.analysis.temporal_law.surface import TOKENS_PER_N, loss_gradient

NAME = "temporal"


def forecast(
    loss_KP: np.ndarray,
    tokens_K: np.ndarray,
    fraction: float,
    lr: np.ndarray | None = None,
    *,
    positions: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    forms: Mapping[str, Form] | None = None,
    seed: int = 0,
) -> Forecast:
    """Fit on the checkpoints up to ``fraction`` of the tokens, score on the strictly later ones, against every baseline.

    ``lr`` is the learning rate at each checkpoint; the schedule's future counts as known. Raises ValueError where the
    fraction isn't inside (0, 1) or no checkpoint lies after it. With the default forms and weights a forecast is made
    once in a process: a page, its claims and its figures ask for the same ones, and each takes seconds.
    """
    if weights is not None or forms is not None:
        return _forecast(loss_KP, tokens_K, fraction, lr, positions, weights, forms, seed)
    rates, places = (None if a is None else _Frozen.of(a) for a in (lr, positions))
    return _kept(_Frozen.of(loss_KP), _Frozen.of(tokens_K), fraction, rates, places, seed)


class _Frozen(NamedTuple):
    """An array that two calls with equal contents share."""

    shape: tuple[int, ...]
    held: bytes

    @classmethod
    def of(cls, values: np.ndarray) -> "_Frozen":
        array = np.ascontiguousarray(values, float)
        return cls(array.shape, array.tobytes())

    def array(self) -> np.ndarray:
        return np.frombuffer(self.held).reshape(self.shape)


@lru_cache(maxsize=128)
def _kept(
    loss: _Frozen, tokens: _Frozen, fraction: float, lr: _Frozen | None, positions: _Frozen | None, seed: int
) -> Forecast:
    rates, places = (None if a is None else a.array() for a in (lr, positions))
    return _forecast(loss.array(), tokens.array(), fraction, rates, places, None, None, seed)


def _forecast(
    loss_KP: np.ndarray,
    tokens_K: np.ndarray,
    fraction: float,
    lr: np.ndarray | None,
    positions: np.ndarray | None,
    weights: np.ndarray | None,
    forms: Mapping[str, Form] | None,
    seed: int,
) -> Forecast:
    loss_TP, split = np.asarray(loss_KP, float), Split.at(tokens_K, fraction)
    early_KP, _ = split.parts(loss_TP)
    early_K, later_M = split.parts(np.asarray(tokens_K, float))
    lr_K, lr_M = split.rates(lr)
    weights_KP = None if weights is None else split.parts(np.broadcast_to(weights, loss_TP.shape))[0]
    projections = project(
        early_KP, early_K, later_M, lr_K, lr_M, positions=positions, weights=weights_KP, forms=forms, seed=seed
    )
    return split.judge(loss_TP.mean(1), projections)


def project(
    loss_KP: np.ndarray,
    tokens_K: np.ndarray,
    tokens_M: np.ndarray,
    lr_K: np.ndarray | None = None,
    lr_M: np.ndarray | None = None,
    *,
    positions: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    forms: Mapping[str, Form] | None = None,
    baselines: Sequence[type[Law]] | None = None,
    seed: int = 0,
) -> list[Projection]:
    """The mean loss over positions at ``tokens_M``, by the temporal law and by each baseline, with a band of 90 %.

    Baselines see the mean loss only: the last value and all laws of `trajlab.analysis.curve_laws.laws`, those of the
    schedule where the learning rate is known. Bands are a wild bootstrap over runs of neighbouring checkpoints,
    linearised at the fit: they hold the noise of the evidence, not an error of the law's shape.
    """
    loss_KP, tokens_K = np.atleast_2d(np.asarray(loss_KP, float)), np.asarray(tokens_K, float)
    tokens_M = np.atleast_1d(np.asarray(tokens_M, float))
    rng = np.random.default_rng(seed)
    seen = MeanLoss.of(tokens_K, loss_KP.mean(1), lr_K)
    position_law = fit_position_law(loss_KP, positions, weights)
    return [
        _temporal(position_law, tokens_K, tokens_M, lr_K, lr_M, seen, forms, rng),
        *project_curve(seen, tokens_M, lr_M, rng, baselines),
    ]


def _temporal(
    position_law: PositionLaw,
    tokens_K: np.ndarray,
    tokens_M: np.ndarray,
    lr_K: np.ndarray | None,
    lr_M: np.ndarray | None,
    seen: MeanLoss,
    forms: Mapping[str, Form] | None,
    rng: np.random.Generator,
) -> Projection:
    known_lr = lr_K is not None and lr_M is not None
    end = None
    if lr_K is not None and lr_M is not None:
        end = decays_until(np.concatenate([tokens_K, tokens_M]), np.concatenate([lr_K, lr_M]))
    try:
        law = fit_temporal_law(position_law, tokens_K, lr_K if known_lr else None, n_end=end, forms=forms)
    except ThinEvidence as thin:
        return refusal(NAME, len(tokens_M), str(thin))
    if lr_K is not None and lr_M is not None and "a2" not in (forms or {}):
        until = stable_until(np.concatenate([tokens_K, tokens_M]), np.concatenate([lr_K, lr_M]))
        if _falls_unseen(law, seen, tokens_M, until):
            return refusal(NAME, len(tokens_M), "the learning rate falls later, and its effect has not been seen")
    return judged(NAME, law.predict(tokens_M), _linear_fit(law, seen, tokens_M), seen.losses, rng)


def _falls_unseen(law: TemporalLaw, seen: MeanLoss, tokens_M: np.ndarray, until: float | None) -> bool:
    """Whether the rate was stable so far and falls later. One that falls from the start one form has seen all along."""
    if until is None or isinstance(law.forms["a2"], PiecewiseCosine):
        return False
    return bool((seen.tokens_K[seen.known_K] <= until).sum() >= MIN_STABLE and tokens_M.max() > until)


def _linear_fit(law: TemporalLaw, seen: MeanLoss, tokens_M: np.ndarray) -> LinearFit:
    e = law.evidence
    residual_KN = (e.loss_KN - law.predict_positions(e.n_K * TOKENS_PER_N) @ e.mixing_PN) * e.weights_KN
    jacobian_KNQ = loss_gradient(law.forms, law.theta, e.n_K, e.positions_P, e.mixing_PN)
    scores_KQ = np.einsum("kn,knq->kq", residual_KN, jacobian_KNQ)
    normal_QQ = np.einsum("kn,kni,knj->ij", e.weights_KN, jacobian_KNQ, jacobian_KNQ)
    losses = seen.losses
    residual_K = losses[-len(e.n_K) :] - law.predict(e.n_K * TOKENS_PER_N)[-len(losses) :]
    return LinearFit(scores_KQ, normal_QQ, law.gradient(tokens_M), residual_K)
