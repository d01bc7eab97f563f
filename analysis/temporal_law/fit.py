"""Fitting the temporal law: each parameter's form by itself, then all together to the losses.

Shapes: K checkpoints, P positions, N groups of positions, Q coefficients. ``n`` is millions of tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from trajlab.analysis.position_law import PositionLaw
from trajlab.analysis.temporal_law.evidence import MIN_CHECKPOINTS, Evidence
from trajlab.analysis.temporal_law.forms import Constant, Form, Hyperbolic, Logarithmic, PiecewiseCosine
from trajlab.analysis.temporal_law.law import TemporalLaw
from trajlab.analysis.temporal_law.surface import (
    PARAMETERS,
    TOKENS_PER_N,
    a1_range,
    loss_at,
    loss_gradient,
    split_coefficients,
)

MIN_STABLE, MIN_DECAYING = 4, 5
"""a2 has a cosine piece only with at least so many checkpoints before and after N_sep."""
HUBER = 1.345
"""Where Huber's weight starts to fall, in robust standard deviations of the checkpoints' mean residuals."""
ROBUST_ROUNDS = 5
"""Most rounds of weighing and fitting again."""


def fit_temporal_law(
    position_law: PositionLaw,
    tokens_K: np.ndarray,
    lr: np.ndarray | None = None,
    *,
    n_sep: float | str | None = None,
    n_end: float | None = None,
    forms: Mapping[str, Form] | None = None,
) -> TemporalLaw:
    """Fit the forms stage by stage to a0, a1 and a2, then jointly to all losses by position.

    ``n_sep``: tokens up to which the learning rate is stable, ``"fit"`` to search them, or None to read them off ``lr``
    (at each checkpoint), where given. ``n_end``: tokens at which the decay ends, where the schedule is known. Checkpoints at 0 tokens and during warm-up (a rising ``lr``) are left out. ``forms``
    replaces some of the default ones by parameter. Raises ThinEvidence where the checkpoints can't determine the law.
    """
    evidence = Evidence.of(position_law, tokens_K, lr)
    if n_sep == "fit":
        return _search_n_sep(evidence, forms)
    separation = float(n_sep) if n_sep is not None else evidence.n_sep
    return _fit(evidence, separation, forms, n_end=n_end)


def _forms(
    evidence: Evidence, n_sep: float | None, given: Mapping[str, Form] | None, n_end: float | None = None
) -> dict[str, Form]:
    """The published form of each parameter, as far as the checkpoints can determine it.

    a2 has a cosine only where enough checkpoints lie on it and before it. a1 is constant where too few checkpoints tell its
    size: a curve fitted to guesses would run anywhere.
    """
    a2: Form = Hyperbolic()
    if n_sep is not None:
        after_K = evidence.n_K > n_sep / TOKENS_PER_N
        if after_K.sum() >= MIN_DECAYING and (~after_K).sum() >= MIN_STABLE:
            a2 = PiecewiseCosine(n_sep / TOKENS_PER_N, None if n_end is None else n_end / TOKENS_PER_N)
    known_K = evidence.seen_K & (evidence.stderr_3K[1] < evidence.values_3K[1])
    steady = known_K.sum() < MIN_CHECKPOINTS
    a1: Form = Constant(*a1_range(evidence.positions_P)) if steady else Hyperbolic(positive=True)
    chosen: dict[str, Form] = {"a0": Logarithmic(), "a1": a1, "a2": a2}
    if given and (unknown := set(given) - set(chosen)):
        raise ValueError(f"forms: {', '.join(sorted(unknown))} is none of a0, a1, a2")
    return chosen | dict(given or {})


def _fit(
    evidence: Evidence,
    n_sep: float | None,
    given: Mapping[str, Form] | None,
    rounds: int | None = None,
    n_end: float | None = None,
) -> TemporalLaw:
    forms = _forms(evidence, n_sep, given, n_end)
    stages = {p: _stage(forms[p], evidence, row) for row, p in enumerate(PARAMETERS)}
    starts = [{p: stages[p][min(i, len(stages[p]) - 1)] for p in PARAMETERS} for i in range(2)]
    theta, cost, converged = min((_joint(evidence, forms, s) for s in starts), key=lambda item: item[1])
    for _ in range(ROBUST_ROUNDS if rounds is None else rounds):
        former, evidence = evidence, _trusted(evidence, forms, theta)
        if np.abs(evidence.weights_KN - former.weights_KN).max() < 0.01 * evidence.base_KN.max():
            break
        theta, cost, converged = _joint(evidence, forms, theta)
    weights = evidence.weights_KN
    mean = (weights * evidence.loss_KN).sum() / weights.sum()
    variation = (weights * (evidence.loss_KN - mean) ** 2).sum()
    return TemporalLaw(
        forms=forms,
        theta=theta,
        covariance_QQ=_covariance(evidence, forms, theta, cost),
        positions_P=evidence.positions_P,
        last_tokens=float(evidence.n_K.max() * TOKENS_PER_N),
        n_sep=n_sep,
        r2=1 - cost / variation if variation > 0 else 0.0,
        checkpoints=len(evidence.n_K),
        converged=converged,
        evidence=evidence,
    )


def _covariance(e: Evidence, forms: Mapping[str, Form], theta: Mapping[str, np.ndarray], cost: float) -> np.ndarray:
    """Of all coefficients, with a checkpoint's residuals taken as one observation.

    All positions of a checkpoint share its noise, so residuals taken as independent give standard errors that are many times too
    small. Each coefficient's is the larger of that and of the sandwich clustered by checkpoint (Liang & Zeger 1986,
    doi:10.1093/biomet/73.1.13), which has too few clusters to be trusted where it is smaller; its residuals are what the fit left of the
    errors, and neighbouring checkpoints err alike (`_inflation`).
    """
    jacobian = _weighted_jacobian(e, forms, theta)
    q = jacobian.shape[1]
    bread_QQ = np.linalg.pinv(jacobian.T @ jacobian)
    covariance_QQ = bread_QQ * cost / max(e.weights_KN.size - q, 1)
    residual_KN = np.sqrt(e.weights_KN) * (e.loss_KN - loss_at(forms, theta, e.n_K, e.positions_P) @ e.mixing_PN)
    scores_KQ = np.einsum("kn,knq->kq", residual_KN, jacobian.reshape(*residual_KN.shape, q))
    clustered_Q = np.diag(bread_QQ @ (scores_KQ.T @ scores_KQ) @ bread_QQ) * _inflation(residual_KN, q)
    independent_Q = np.maximum(np.diag(covariance_QQ), 1e-300)
    scale_Q = np.sqrt(np.maximum(clustered_Q / independent_Q, 1))
    return covariance_QQ * np.outer(scale_Q, scale_Q)


def _inflation(residual_KN: np.ndarray, q: int) -> float:
    """By how much the variance of coefficients exceeds that from residuals taken as errors and independent between checkpoints.

    Residuals of K checkpoints that q coefficients were fitted to are smaller than errors by 1 − q/K on average, and once more where
    they pull at the fit (the jackknife's correction, squared). Errors with an autocorrelation r count for (1 − r)/(1 + r) as many;
    r is the lag-one one of the checkpoints' mean residuals, corrected for the fit **(ours)**.
    """
    mean_K, count = residual_KN.mean(1), len(residual_KN)
    power = float(mean_K @ mean_K)
    r = float(mean_K[1:] @ mean_K[:-1]) / power if power else 0.0
    r = min(max(r + (1 + q / 2) * (1 + r) / count, 0.0), 0.95)
    return (count / max(count - q, 1)) ** 2 * (1 + r) / (1 - r)


def _trusted(e: Evidence, forms: Mapping[str, Form], theta: Mapping[str, np.ndarray]) -> Evidence:
    """The evidence with Huber's weight on each checkpoint's mean residual.

    No smooth form holds for the first checkpoints of a run, and these must not bend the rest.
    """
    residual_KN = e.loss_KN - loss_at(forms, theta, e.n_K, e.positions_P) @ e.mixing_PN
    mean_K = np.abs((e.base_KN * residual_KN).sum(1) / e.base_KN.sum(1))
    limit = HUBER * 1.4826 * np.median(mean_K) + 1e-12
    return replace(e, weights_KN=e.base_KN * np.minimum(1, limit / np.maximum(mean_K, 1e-300))[:, None])


def _search_n_sep(evidence: Evidence, given: Mapping[str, Form] | None) -> TemporalLaw:
    """The separation with the smallest residuals, among a dozen checkpoints and none."""
    inner = evidence.n_K[4:-5] * TOKENS_PER_N
    candidates = [None, *inner[np.unique(np.linspace(0, len(inner) - 1, 12).astype(int))]] if len(inner) else [None]
    best = max((_fit(evidence, c, given, rounds=0) for c in candidates), key=lambda law: law.r2)
    return _fit(evidence, best.n_sep, given)


def _stage(form: Form, evidence: Evidence, row: int) -> list[np.ndarray]:
    """Coefficients of one parameter's form from its own series, the best of several starts first."""
    use_K = evidence.seen_K
    n_K, y_K, error_K = evidence.n_K[use_K], evidence.values_3K[row, use_K], evidence.stderr_3K[row, use_K]
    floor = np.nanmedian(error_K) + 1e-9 * (np.abs(y_K).max() + 1e-300)  # no checkpoint may outweigh all others
    root_K = 1 / np.hypot(np.nan_to_num(error_K, nan=floor), floor)
    found = []
    for start in form.starts(n_K, y_K, root_K**2):
        low, high = form.bounds(n_K)
        solved = least_squares(
            lambda t: root_K * (form.value(t, n_K) - y_K),
            np.clip(start, low, high),
            lambda t: root_K[:, None] * form.gradient(t, n_K),
            (low, high),
            x_scale="jac",
            max_nfev=100,
        )
        found.append((solved.cost, solved.x))
    found.sort(key=lambda item: item[0])
    return [x for _, x in found]


def _joint(
    evidence: Evidence, forms: Mapping[str, Form], start: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], float, bool]:
    """Fit all coefficients to all losses, in rounds; a coefficient that a round did not move is kept fixed in the next."""
    low, high = (np.concatenate(b) for b in zip(*(forms[p].bounds(evidence.n_K) for p in PARAMETERS), strict=True))
    flat = np.clip(np.concatenate([start[p] for p in PARAMETERS]), low, high)
    free, converged, cost = np.ones(len(flat), bool), False, np.inf
    for _ in range(6):
        problem = _JointProblem(evidence, forms, flat, free)
        bounds = (low[free], high[free])
        solved = least_squares(
            problem.residual, flat[free], problem.jacobian, bounds, x_scale="jac", max_nfev=40, ftol=1e-10, xtol=1e-10
        )
        moved = np.abs(solved.x - flat[free]) > 1e-6 * (np.abs(solved.x) + 1e-6)
        flat = problem.filled(solved.x)
        cost = 2 * solved.cost
        free[free] = moved
        if converged := not free.any():
            break
    return split_coefficients(forms, flat), cost, converged


@dataclass
class _JointProblem:
    """Weighted residuals over checkpoints and positions as a function of the coefficients that are free."""

    evidence: Evidence
    forms: Mapping[str, Form]
    flat: np.ndarray
    free: np.ndarray

    def filled(self, x: np.ndarray) -> np.ndarray:
        """All coefficients."""
        flat = self.flat.copy()
        flat[self.free] = x
        return flat

    def residual(self, x: np.ndarray) -> np.ndarray:
        """√w·(law − loss), flattened."""
        e, theta = self.evidence, split_coefficients(self.forms, self.filled(x))
        law_KN = loss_at(self.forms, theta, e.n_K, e.positions_P) @ e.mixing_PN
        return (np.sqrt(e.weights_KN) * (law_KN - e.loss_KN)).ravel()

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """Its derivatives by the free coefficients."""
        return _weighted_jacobian(self.evidence, self.forms, split_coefficients(self.forms, self.filled(x)))[
            :, self.free
        ]


def _weighted_jacobian(e: Evidence, forms: Mapping[str, Form], theta: Mapping[str, np.ndarray]) -> np.ndarray:
    jacobian = loss_gradient(forms, theta, e.n_K, e.positions_P, e.mixing_PN) * np.sqrt(e.weights_KN)[:, :, None]
    return jacobian.reshape(-1, jacobian.shape[2])
