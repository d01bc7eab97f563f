"""The temporal scaling law: the position law's parameters along training, and with them the rest of a run (methods.md §3).

    L_i(N) = a0(N) / (1 + a1(N)·i) + a2(N)

- `fit_temporal_law`   position laws at K checkpoints → `TemporalLaw`
- `project`            losses so far → each law's loss at later tokens, with a band, or why it is refused
- `forecast`           `project` on the first part of a run, scored on the rest

Tokens are tokens for callers, millions of them (``n``) inside the forms. Shapes: K checkpoints, M later checkpoints,
P positions, N groups of positions, Q coefficients, R bootstrap draws. Losses in nats per token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from trajlab.analysis.curve_laws import (
    AnnealingLaw,
    Law,
    LogarithmicLaw,
    MultiPowerLaw,
    PowerLaw,
    ReciprocalLaw,
    errors,
)
from trajlab.analysis.position_law import A1_RANGE, PositionLaw, fit_position_law, mean_hyperbola
from trajlab.analysis.temporal_law.forms import Constant, Form, Hyperbolic, Logarithmic, PiecewiseCosine

__all__ = ["Forecast", "Projection", "TemporalLaw", "ThinEvidence", "fit_temporal_law", "forecast", "project"]

TOKENS_PER_N = 1e6
PARAMETERS = ("a0", "a1", "a2")
MIN_CHECKPOINTS = 8
"""Checkpoints whose loss falls with the position, below which no temporal law is drawn **(ours)**."""
MIN_STABLE, MIN_DECAYING = 4, 5
"""Checkpoints before and after N_sep, below which a2 has no cosine piece."""
HUBER = 1.345
"""In robust standard deviations of the checkpoints' mean residuals."""
ROBUST_ROUNDS = 5
GROUPS = 32
"""Of positions, for the joint fit: as many as the shape of a hyperbola can use."""
DRAWS = 400
"""Of the bootstrap behind a band."""
LEVEL = 0.9
"""Share of the draws inside a band."""


class ThinEvidence(ValueError):
    """The checkpoints can't determine the law; the message says why."""


@dataclass(frozen=True)
class TemporalLaw:
    """Forms of a0, a1 and a2 with their coefficients."""

    forms: Mapping[str, Form]
    theta: Mapping[str, np.ndarray]
    """Coefficients by parameter, in the forms' order; per million tokens."""
    covariance_QQ: np.ndarray
    """Of all coefficients, a0's first; from residuals that are taken as independent between checkpoints alone."""
    positions_P: np.ndarray
    last_tokens: float
    """The last checkpoint of the fit."""
    n_sep: float | None
    """Tokens up to which the learning rate is stable; None: throughout."""
    r2: float
    """Share of the variance over checkpoints and positions explained."""
    checkpoints: int
    converged: bool
    _evidence: "_Evidence" = field(repr=False)

    def parameters_at(self, tokens: np.ndarray | float) -> np.ndarray:
        """a0, a1 and a2 at some tokens, of shape (3, K)."""
        return _parameters(self.forms, self.theta, _millions(tokens), self.positions_P)

    def predict(self, tokens: np.ndarray | float, n: int | None = None) -> np.ndarray:
        """The mean loss over positions 1 … n, of shape (K,); over the fit's own positions unless n is given."""
        a0_K, a1_K, a2_K = self.parameters_at(tokens)
        if n is not None:
            return mean_hyperbola(a0_K, a1_K, a2_K, n)
        return self.predict_positions(tokens).mean(1)

    def predict_positions(self, tokens: np.ndarray | float) -> np.ndarray:
        """The loss at each of the fit's positions, of shape (K, P)."""
        return _law(self.forms, self.theta, _millions(tokens), self.positions_P)

    def gradient(self, tokens: np.ndarray | float) -> np.ndarray:
        """Derivatives of the mean loss over the fit's positions by all coefficients, of shape (K, Q)."""
        over_all_P1 = np.full((len(self.positions_P), 1), 1 / len(self.positions_P))
        return _jacobian(self.forms, self.theta, _millions(tokens), self.positions_P, over_all_P1)[:, 0]

    def table(self) -> pd.DataFrame:
        """A row a coefficient: parameter, form, coefficient, value, stderr."""
        errors_Q = np.sqrt(np.maximum(np.diag(self.covariance_QQ), 0))
        names = [(p, self.forms[p].name, c) for p in PARAMETERS for c in self.forms[p].coefficients]
        frame = pd.DataFrame(names, columns=["parameter", "form", "coefficient"])
        return frame.assign(value=np.concatenate([self.theta[p] for p in PARAMETERS]), stderr=errors_Q)


def fit_temporal_law(
    position_law: PositionLaw,
    tokens_K: np.ndarray,
    lr: np.ndarray | None = None,
    *,
    n_sep: float | str | None = None,
    forms: Mapping[str, Form] | None = None,
) -> TemporalLaw:
    """Fit the forms stage by stage to a0, a1 and a2, then jointly to all losses by position.

    ``n_sep``: tokens up to which the learning rate is stable, ``"fit"`` to search them, or None to read them off ``lr``
    (at each checkpoint), where given. Checkpoints at 0 tokens and during warm-up (a rising ``lr``) are left out. ``forms``
    replaces some of the default ones by parameter. Raises ThinEvidence where the checkpoints can't determine the law.
    """
    evidence = _Evidence.of(position_law, tokens_K, lr)
    if n_sep == "fit":
        return _search_n_sep(evidence, forms)
    separation = float(n_sep) if n_sep is not None else evidence.n_sep
    return _fit(evidence, separation, forms)


@dataclass(frozen=True)
class _Evidence:
    """The checkpoints that a temporal law is fitted to, their losses averaged over groups of positions."""

    n_K: np.ndarray
    loss_KN: np.ndarray
    base_KN: np.ndarray
    """The position law's weights."""
    weights_KN: np.ndarray
    """The same, less where a checkpoint is an outlier."""
    positions_P: np.ndarray
    mixing_PN: np.ndarray
    """Each group's average over positions; the law is averaged by it too, so grouping costs no bias."""
    values_3K: np.ndarray
    stderr_3K: np.ndarray
    seen_K: np.ndarray
    """Where the loss falls with the position."""
    n_sep: float | None

    @classmethod
    def of(cls, law: PositionLaw, tokens_K: np.ndarray, lr: np.ndarray | None) -> "_Evidence":
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
            tokens_K[rows] / TOKENS_PER_N, law.loss_KP[rows][:, whole_P] @ mixing_PN, weights_KN, weights_KN,
            positions_P, mixing_PN, values, law.stderr()[rows].T, seen_K[rows], stable_until(tokens_K, lr_K),
        )  # fmt: skip


def _groups(positions_P: np.ndarray, weights_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups of neighbouring positions, even in their logarithm: averages (P, N) and membership (P, N)."""
    edges = np.geomspace(positions_P.min(), positions_P.max(), GROUPS)
    _, group_P = np.unique(np.searchsorted(edges, positions_P), return_inverse=True)
    member_PN = (group_P[:, None] == np.arange(group_P.max() + 1)).astype(float)
    weighted_PN = weights_P[:, None] * member_PN
    return weighted_PN / weighted_PN.sum(0), member_PN


def after_warmup(tokens_K: np.ndarray, lr_K: np.ndarray | None) -> np.ndarray:
    """Checkpoints with tokens, from the highest learning rate on."""
    if lr_K is None or not np.isfinite(lr_K).any():
        return tokens_K > 0
    peak = np.nanmax(lr_K)
    first = tokens_K[np.isfinite(lr_K) & (lr_K >= peak * (1 - 1e-6))].min()
    return (tokens_K > 0) & (tokens_K >= first)


def stable_until(tokens_K: np.ndarray, lr_K: np.ndarray | None) -> float | None:
    """Tokens of the last checkpoint at the highest learning rate; None where the rate never falls."""
    if lr_K is None or not np.isfinite(lr_K).any():
        return None
    highest = tokens_K[lr_K >= np.nanmax(lr_K) * (1 - 1e-6)].max()
    return float(highest) if (lr_K[tokens_K > highest] < np.nanmax(lr_K) * 0.999).any() else None


def _millions(tokens: np.ndarray | float) -> np.ndarray:
    return np.atleast_1d(np.asarray(tokens, float)) / TOKENS_PER_N


# ---- the fit


def _forms(evidence: _Evidence, n_sep: float | None, given: Mapping[str, Form] | None) -> dict[str, Form]:
    """The published kinds; a cosine only where enough checkpoints lie on it and before it, and a constant a1
    where too few checkpoints tell its size: a curve through guesses would run anywhere."""
    a2: Form = Hyperbolic()
    if n_sep is not None:
        after_K = evidence.n_K > n_sep / TOKENS_PER_N
        if after_K.sum() >= MIN_DECAYING and (~after_K).sum() >= MIN_STABLE:
            a2 = PiecewiseCosine(n_sep / TOKENS_PER_N)
    known_K = evidence.seen_K & (evidence.stderr_3K[1] < evidence.values_3K[1])
    steady = known_K.sum() < MIN_CHECKPOINTS
    a1: Form = Constant(*_a1_range(evidence.positions_P)) if steady else Hyperbolic(positive=True)
    chosen: dict[str, Form] = {"a0": Logarithmic(), "a1": a1, "a2": a2}
    if given and (unknown := set(given) - set(chosen)):
        raise ValueError(f"forms: {', '.join(sorted(unknown))} is none of a0, a1, a2")
    return chosen | dict(given or {})


def _fit(
    evidence: _Evidence, n_sep: float | None, given: Mapping[str, Form] | None, rounds: int | None = None
) -> TemporalLaw:
    forms = _forms(evidence, n_sep, given)
    stages = {p: _stage(forms[p], evidence, row) for row, p in enumerate(PARAMETERS)}
    starts = [{p: stages[p][min(i, len(stages[p]) - 1)] for p in PARAMETERS} for i in range(2)]
    theta, cost, converged = min((_joint(evidence, forms, s) for s in starts), key=lambda item: item[1])
    for _ in range(ROBUST_ROUNDS if rounds is None else rounds):
        former, evidence = evidence, _trusted(evidence, forms, theta)
        if np.abs(evidence.weights_KN - former.weights_KN).max() < 0.01 * evidence.base_KN.max():
            break
        theta, cost, converged = _joint(evidence, forms, theta)
    jacobian, weights = _weighted_jacobian(evidence, forms, theta), evidence.weights_KN
    mean = (weights * evidence.loss_KN).sum() / weights.sum()
    variation = (weights * (evidence.loss_KN - mean) ** 2).sum()
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * cost / max(weights.size - jacobian.shape[1], 1)
    return TemporalLaw(
        forms, theta, covariance, evidence.positions_P, float(evidence.n_K.max() * TOKENS_PER_N), n_sep,
        1 - cost / variation if variation > 0 else 0.0, len(evidence.n_K), converged, evidence,
    )  # fmt: skip


def _trusted(e: _Evidence, forms: Mapping[str, Form], theta: Mapping[str, np.ndarray]) -> _Evidence:
    """The evidence with Huber's weight on each checkpoint's mean residual: the first checkpoints of a run, where no smooth
    form holds, must not bend the rest."""
    residual_KN = e.loss_KN - _law(forms, theta, e.n_K, e.positions_P) @ e.mixing_PN
    mean_K = np.abs((e.base_KN * residual_KN).sum(1) / e.base_KN.sum(1))
    limit = HUBER * 1.4826 * np.median(mean_K) + 1e-12
    return replace(e, weights_KN=e.base_KN * np.minimum(1, limit / np.maximum(mean_K, 1e-300))[:, None])


def _search_n_sep(evidence: _Evidence, given: Mapping[str, Form] | None) -> TemporalLaw:
    """The separation with the smallest residuals, among a dozen checkpoints and none."""
    inner = evidence.n_K[4:-5] * TOKENS_PER_N
    candidates = [None, *inner[np.unique(np.linspace(0, len(inner) - 1, 12).astype(int))]] if len(inner) else [None]
    best = max((_fit(evidence, c, given, rounds=0) for c in candidates), key=lambda law: law.r2)
    return _fit(evidence, best.n_sep, given)


def _stage(form: Form, evidence: _Evidence, row: int) -> list[np.ndarray]:
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
    evidence: _Evidence, forms: Mapping[str, Form], start: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], float, bool]:
    """All coefficients from all losses, in rounds; those that a round no longer moves are frozen in the next."""
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
    return _split(forms, flat), cost, converged


@dataclass
class _JointProblem:
    """Weighted residuals over checkpoints and positions as a function of the coefficients that are free."""

    evidence: _Evidence
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
        e, theta = self.evidence, _split(self.forms, self.filled(x))
        law_KN = _law(self.forms, theta, e.n_K, e.positions_P) @ e.mixing_PN
        return (np.sqrt(e.weights_KN) * (law_KN - e.loss_KN)).ravel()

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """Its derivatives by the free coefficients."""
        return _weighted_jacobian(self.evidence, self.forms, _split(self.forms, self.filled(x)))[:, self.free]


def _split(forms: Mapping[str, Form], flat: np.ndarray) -> dict[str, np.ndarray]:
    ends = np.cumsum([len(forms[p].coefficients) for p in PARAMETERS])
    return dict(zip(PARAMETERS, np.split(flat, ends[:-1]), strict=True))


def _parameters(
    forms: Mapping[str, Form], theta: Mapping[str, np.ndarray], n_K: np.ndarray, positions_P: np.ndarray
) -> np.ndarray:
    """a0, a1, a2 of shape (3, K); a1 is kept where the position law seeks it: beyond, only a0/a1 has an effect."""
    values = np.stack([forms[p].value(theta[p], n_K) for p in PARAMETERS])
    values[1] = np.clip(values[1], *_a1_range(positions_P))
    return values


def _a1_range(positions_P: np.ndarray) -> tuple[float, float]:
    return A1_RANGE[0] / positions_P.max(), A1_RANGE[1] / positions_P.min()


def _law(
    forms: Mapping[str, Form], theta: Mapping[str, np.ndarray], n_K: np.ndarray, positions_P: np.ndarray
) -> np.ndarray:
    """The loss at each checkpoint and position, (K, P)."""
    a0_K, a1_K, a2_K = _parameters(forms, theta, n_K, positions_P)
    return a0_K[:, None] / (1 + a1_K[:, None] * positions_P) + a2_K[:, None]


def _jacobian(
    forms: Mapping[str, Form], theta: Mapping[str, np.ndarray], n_K: np.ndarray, positions_P: np.ndarray,
    mixing_PN: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Derivatives of the loss at each checkpoint and group of positions by all coefficients, (K, N, Q)."""
    a0_K, a1_K, _ = _parameters(forms, theta, n_K, positions_P)
    low, high = _a1_range(positions_P)
    h_KP = 1 / (1 + a1_K[:, None] * positions_P)
    by_a1_KP = -a0_K[:, None] * positions_P * h_KP**2 * ((a1_K >= low) & (a1_K <= high))[:, None]
    pieces = zip(PARAMETERS, (h_KP, by_a1_KP, np.ones_like(h_KP)), strict=True)
    by = {p: (by_KP @ mixing_PN)[:, :, None] for p, by_KP in pieces}
    return np.concatenate([by[p] * forms[p].gradient(theta[p], n_K)[:, None] for p in PARAMETERS], 2)


def _weighted_jacobian(e: _Evidence, forms: Mapping[str, Form], theta: Mapping[str, np.ndarray]) -> np.ndarray:
    jacobian = _jacobian(forms, theta, e.n_K, e.positions_P, e.mixing_PN) * np.sqrt(e.weights_KN)[:, :, None]
    return jacobian.reshape(-1, jacobian.shape[2])


# ---- forecasts


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
class Forecast:
    """Laws fitted on the first part of a run, and what came after."""

    fraction: float
    tokens_M: np.ndarray
    """Later checkpoints."""
    loss_M: np.ndarray
    """What was measured there: the mean over positions, nats."""
    projections: tuple[Projection, ...]
    fitted: int
    """Checkpoints that the laws were fitted on, warm-up included."""

    def __getitem__(self, law: str) -> Projection:
        """A law's projection by name."""
        return next(p for p in self.projections if p.law == law)

    def table(self) -> pd.DataFrame:
        """A row a law: fraction, law, n, mse, mae, mape, r2, final_error (nats), inside (share of losses in the band),
        refused. Late losses hardly vary, so a negative r2 may go with a small mae."""
        rows = []
        for p in self.projections:
            scores = {k: v for k, v in errors(self.loss_M, p.loss_M).items() if k != "worst"}
            inside = float(((self.loss_M >= p.low_M) & (self.loss_M <= p.high_M)).mean())
            rows.append({"fraction": self.fraction, "law": p.law, **scores,
                         "inside": np.nan if p.refused else inside, "refused": p.refused})  # fmt: skip
        return pd.DataFrame(rows)


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
    fraction isn't inside (0, 1) or no checkpoint lies after it.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction} isn't between 0 and 1")
    order = np.argsort(tokens_K, kind="stable")
    loss_KP, tokens_K = np.asarray(loss_KP, float)[order], np.asarray(tokens_K, float)[order]
    lr_K = None if lr is None else np.asarray(lr, float)[order]
    weights_KP = None if weights is None else np.broadcast_to(weights, loss_KP.shape)[order]
    early_K = tokens_K <= fraction * tokens_K[-1]
    if early_K.all():
        raise ValueError(f"no checkpoint lies after {fraction:.0%} of the tokens")
    projections = project(
        loss_KP[early_K], tokens_K[early_K], tokens_K[~early_K],
        None if lr_K is None else lr_K[early_K], None if lr_K is None else lr_K[~early_K],
        positions=positions, weights=None if weights_KP is None else weights_KP[early_K], forms=forms, seed=seed,
    )  # fmt: skip
    return Forecast(fraction, tokens_K[~early_K], loss_KP[~early_K].mean(1), tuple(projections), int(early_K.sum()))


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

    Baselines see the mean loss only: the last value, power, reciprocal and logarithmic laws, and where the learning rate
    is known and has fallen the annealing and multi-power ones. Bands are a wild bootstrap over runs of neighbouring
    checkpoints, linearised at the fit: they hold the noise of the evidence, not an error of the law's shape.
    """
    loss_KP, tokens_K = np.atleast_2d(np.asarray(loss_KP, float)), np.asarray(tokens_K, float)
    tokens_M = np.atleast_1d(np.asarray(tokens_M, float))
    rng = np.random.default_rng(seed)
    use_K = after_warmup(tokens_K, lr_K) & np.isfinite(loss_KP).all(1)
    curve = _Curve(tokens_K[use_K], loss_KP[use_K].mean(1), None if lr_K is None else np.asarray(lr_K, float)[use_K])
    position_law = fit_position_law(loss_KP, positions, weights)
    whole_lr = None if lr_K is None or lr_M is None else (lr_K, lr_M)
    found = [
        _temporal(position_law, tokens_K, tokens_M, whole_lr, curve, forms, rng),
        _last_value(curve, tokens_M, rng),
    ]
    for kind in _baselines(curve) if baselines is None else baselines:
        found.append(_baseline(kind, curve, tokens_M, lr_M, rng))
    return found


@dataclass(frozen=True)
class _Curve:
    """The mean loss after warm-up."""

    tokens_K: np.ndarray
    loss_K: np.ndarray
    lr_K: np.ndarray | None


def _baselines(curve: _Curve) -> list[type[Law]]:
    known: list[type[Law]] = [PowerLaw, ReciprocalLaw, LogarithmicLaw]
    return known if curve.lr_K is None else [*known, AnnealingLaw, MultiPowerLaw]


def _temporal(
    position_law: PositionLaw, tokens_K: np.ndarray, tokens_M: np.ndarray,
    whole_lr: tuple[np.ndarray, np.ndarray] | None, curve: _Curve, forms: Mapping[str, Form] | None,
    rng: np.random.Generator,
) -> Projection:  # fmt: skip
    try:
        law = fit_temporal_law(position_law, tokens_K, None if whole_lr is None else whole_lr[0], forms=forms)
    except ThinEvidence as thin:
        return _refusal("temporal", tokens_M, str(thin))
    if whole_lr is not None:
        until = stable_until(np.concatenate([tokens_K, tokens_M]), np.concatenate(whole_lr))
        cosine = isinstance(law.forms["a2"], PiecewiseCosine)
        # a rate that falls from the start has no stable part: then one form has seen it all along
        stable = until is not None and (curve.tokens_K <= until).sum() >= MIN_STABLE
        if stable and not cosine and "a2" not in (forms or {}) and tokens_M.max() > until:
            return _refusal("temporal", tokens_M, "the learning rate falls later, and its effect has not been seen")
    e = law._evidence
    residual_KN = (e.loss_KN - law.predict_positions(e.n_K * TOKENS_PER_N) @ e.mixing_PN) * e.weights_KN
    jacobian_KNQ = _jacobian(law.forms, law.theta, e.n_K, e.positions_P, e.mixing_PN)
    scores_KQ = np.einsum("kn,knq->kq", residual_KN, jacobian_KNQ)
    normal_QQ = np.einsum("kn,kni,knj->ij", e.weights_KN, jacobian_KNQ, jacobian_KNQ)
    spread_K = curve.loss_K[-len(e.n_K) :] - law.predict(e.n_K * TOKENS_PER_N)[-len(curve.loss_K) :]
    predicted_M = law.predict(tokens_M)
    low_M, high_M = _band(predicted_M, scores_KQ, normal_QQ, law.gradient(tokens_M), spread_K, rng)
    return _judged("temporal", predicted_M, low_M, high_M, spread_K, curve)


def _baseline(
    kind: type[Law], curve: _Curve, tokens_M: np.ndarray, lr_M: np.ndarray | None, rng: np.random.Generator
) -> Projection:
    count = len(curve.tokens_K)
    if count < len(kind.parameters) + 2:
        return _refusal(kind.name, tokens_M, f"{count} checkpoints for {len(kind.parameters)} parameters")
    frame = pd.DataFrame({"curve": "run", "step": curve.tokens_K, "loss": curve.loss_K})
    if kind.needs_lr:
        if curve.lr_K is None or lr_M is None:
            return _refusal(kind.name, tokens_M, "the learning rate to come is not known")
        if curve.lr_K.min() > 0.98 * curve.lr_K.max():
            return _refusal(kind.name, tokens_M, "the learning rate has not fallen yet, so its effect is unknown")
        frame["lr"] = curve.lr_K
    try:
        law = kind.fit(frame)
        predicted_K, gradient_K, predicted_M, gradient_M = _evaluated(law, curve, tokens_M, lr_M)
    except (ValueError, RuntimeError, np.linalg.LinAlgError) as e:
        return _refusal(kind.name, tokens_M, str(e))
    residual_K = curve.loss_K - predicted_K
    scores_KQ, normal_QQ = residual_K[:, None] * gradient_K, gradient_K.T @ gradient_K
    low_M, high_M = _band(predicted_M, scores_KQ, normal_QQ, gradient_M, residual_K, rng)
    return _judged(kind.name, predicted_M, low_M, high_M, residual_K, curve)


def _evaluated(
    law: Law, curve: _Curve, tokens_M: np.ndarray, lr_M: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A law's loss and gradient over the whole run in one go, for a law of the schedule sums from its start."""
    tokens, k = np.concatenate([curve.tokens_K, tokens_M]), len(curve.tokens_K)
    lr = None if curve.lr_K is None or lr_M is None else np.concatenate([curve.lr_K, lr_M])
    loss, gradient = law.predict(tokens, lr), law.gradient(tokens, lr)
    return loss[:k], gradient[:k], loss[k:], gradient[k:]


def _last_value(curve: _Curve, tokens_M: np.ndarray, rng: np.random.Generator) -> Projection:
    """No law at all: the loss stays where it is."""
    if not len(curve.loss_K):
        return _refusal("last value", tokens_M, "no checkpoint after warm-up")
    predicted_M = np.full(len(tokens_M), curve.loss_K[-1])
    steps_K = np.diff(curve.loss_K)[-5:] if len(curve.loss_K) > 1 else np.zeros(1)
    half = np.quantile(np.abs(steps_K), LEVEL)
    return Projection("last value", predicted_M, predicted_M - half, predicted_M + half)


def _refusal(law: str, tokens_M: np.ndarray, why: str) -> Projection:
    nothing = np.full(len(tokens_M), np.nan)
    return Projection(law, nothing, nothing, nothing, why)


def _judged(
    name: str, loss_M: np.ndarray, low_M: np.ndarray, high_M: np.ndarray, residual_K: np.ndarray, curve: _Curve
) -> Projection:
    """The projection, unless its law doesn't even describe the past, or its band says nothing."""
    fell = float(np.ptp(curve.loss_K))
    unexplained = float((residual_K**2).sum() / max(((curve.loss_K - curve.loss_K.mean()) ** 2).sum(), 1e-300))
    if not np.isfinite(loss_M).all():
        return _refusal(name, loss_M, "the fitted law has no finite value there")
    if unexplained > 0.5:
        return _refusal(name, loss_M, f"the law explains {1 - unexplained:.0%} of the part it was fitted on")
    if (width := float((high_M - low_M).max())) > fell:
        return _refusal(name, loss_M, f"the band is {width:.2g} nats wide; the loss moved by {fell:.2g} so far")
    return Projection(name, loss_M, low_M, high_M)


def _band(
    predicted_M: np.ndarray, scores_KQ: np.ndarray, normal_QQ: np.ndarray, gradient_MQ: np.ndarray,
    residual_K: np.ndarray, rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Quantiles of the prediction under a wild bootstrap: blocks of neighbouring checkpoints' scores get random signs.
    What is predicted is a measured loss, so the checkpoints' own scatter is in it."""
    count, q = scores_KQ.shape
    block_K = np.arange(count) // int(np.ceil(count ** (1 / 3)))
    scores_BQ = np.stack([scores_KQ[block_K == b].sum(0) for b in np.unique(block_K)])
    signs_RB = rng.choice([-1.0, 1.0], size=(DRAWS, len(scores_BQ))) * np.sqrt(count / max(count - q, 1))
    scale_Q = np.sqrt(np.maximum(np.diag(normal_QQ), 1e-300))
    inverse_QQ = np.linalg.pinv(normal_QQ / np.outer(scale_Q, scale_Q), rcond=1e-12, hermitian=True)
    moved_RQ = signs_RB @ (scores_BQ / scale_Q) @ inverse_QQ / scale_Q
    spread = 1.4826 * np.median(np.abs(residual_K))  # an outlier at the start is no noise of the end
    draws_RM = predicted_M + moved_RQ @ gradient_MQ.T + spread * rng.normal(size=(DRAWS, 1))
    low_M, high_M = np.quantile(draws_RM, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low_M, high_M
