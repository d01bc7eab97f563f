"""The interface of every curve law, `Law`, and how well a law predicts, `score`.

Shapes: R rows of a curve (or of all curves, one after the other), Q parameters.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trajlab.analysis.curve_laws.curves import Curve, check_lr, split_curves
from trajlab.analysis.curve_laws.form import Form, U, X
from trajlab.analysis.curve_laws.problem import Evidence, Fit, FitSettings, Problem


@dataclass(frozen=True, eq=False, repr=False)
class Law(Form[X, U]):
    """A parametric form of the loss along training, with its parameters.

    ``PowerLaw.fit(curves)`` fits one; ``PowerLaw({"a": 9, "b": 0.3, "c": 2})`` takes parameters that are known. A law does
    not change: a fit returns a new one. A subclass writes the methods of `Form`; fitting, prediction, scoring and the
    bootstrap are the same for all.
    """

    costly: ClassVar[bool] = False
    """A fit takes seconds rather than tenths: a training run that forecasts itself leaves the law out."""

    params: Mapping[str, float]
    """The parameters by name, in the units of the curves."""
    _: KW_ONLY
    result: Fit | None = None
    """What the law was fitted to and where the fit ended; None for parameters that were given."""

    def __post_init__(self) -> None:
        names = [p.name for p in self.parameters]
        if self.params and set(self.params) != set(names):
            raise ValueError(f"{self.name} law: params must be {', '.join(names)}; got {', '.join(self.params)}")

    @classmethod
    def fit(
        cls,
        curves: pd.DataFrame,
        *,
        delta: float = 1e-3,
        run_sd: float = 1e-3,
        prior_sd: float | None = 0.05,
        starts: int = 8,
        **configuration: Any,
    ) -> Self:
        """Fit all curves of the frame (curve, step, loss[, lr]) together and return the fitted law.

        Minimises Huber's loss of ln prediction − ln loss. The keywords up to ``starts`` are those of `FitSettings`; all others
        are fields of the law (``warmup_area`` of a law of the schedule, say) and stay with it. Raises ValueError where the
        curves can't determine the law: too few points, or no learning rate where one is needed.
        """
        parts = split_curves(curves)
        form = cls({}, **configuration).prepared(parts)
        problem = Problem(form, parts, FitSettings(delta, run_sd, prior_sd, starts))
        minimum = problem.solve()
        return form.with_values(problem.natural(minimum.theta_Q), Fit(problem, minimum, problem.evidence(minimum)))

    def prepared(self, curves: list[Curve]) -> Self:
        """This law with the fields that it reads off the curves of a fit; most laws have none."""
        return self

    def with_values(self, values_Q: np.ndarray, result: Fit | None = None) -> Self:
        """The same law with other values of its parameters, in their order."""
        params = dict(zip((p.name for p in self.parameters), map(float, values_Q), strict=True))
        return replace(self, params=params, result=result)

    @property
    def evidence(self) -> Evidence | None:
        """What the fit used and where it ended; None for parameters that were given."""
        return None if self.result is None else self.result.evidence

    @property
    def values_Q(self) -> np.ndarray:
        """The parameters in their order."""
        if not self.params:
            raise RuntimeError(f"{type(self).__name__}: fit(curves) first, or give params")
        return np.array([self.params[p.name] for p in self.parameters], float)

    def predict(self, step: ArrayLike, lr: ArrayLike | None = None) -> np.ndarray:
        """Loss in nats at each step of one run, whose learning rate at these steps is ``lr``.

        NaN where the law has no value: most have none at step 0. Any schedule will do, from the end of its warm-up on (or
        from its start): what comes before the first step is taken for warm-up. Between steps the rate is linear save for
        jumps; give every step where that is wrong. Raises ValueError where the law needs ``lr`` and has none.
        """
        return self.form(self.values_Q, self._asked(step, lr))

    def gradient(self, step: ArrayLike, lr: ArrayLike | None = None) -> np.ndarray:
        """Derivative of each predicted loss by each parameter (R × Q), exact."""
        return self.form_and_gradient(self.values_Q, self._asked(step, lr))[1]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.5g}" for name, value in self.params.items()) or "not fitted"
        return f"{type(self).__name__}({shown})"

    def _asked(self, step: ArrayLike, lr: ArrayLike | None) -> X:
        step_R = np.atleast_1d(np.asarray(step, float))
        if (np.diff(step_R) < 0).any():
            raise ValueError("step: must not fall; predict one run at a time, in order of step")
        if self.needs_lr and lr is None:
            raise ValueError(f"{self.name} law: lr, the learning rate at each step, is needed")
        lr_R = None if lr is None else check_lr(np.broadcast_to(lr, step_R.shape), "lr")
        curve = Curve("asked", step_R, np.full_like(step_R, np.nan), lr_R)
        return self.inputs([curve], [np.ones(len(step_R), bool)])


def score(law: Law, curves: pd.DataFrame) -> pd.DataFrame:
    """How well a fitted law predicts curves, seen or not: one row per curve.

    Columns: curve, law, n (points), mse, mae (nats), mape (a fraction), r2, worst (largest absolute error, nats) and
    final_error (prediction − loss at the last point). Points where the law has no value are left out.
    """
    rows = []
    for curve in split_curves(curves):
        used_R = law.measured(curve)
        predicted_R = law.form(law.values_Q, law.inputs([curve], [used_R]))
        rows.append({"curve": curve.name, "law": law.name, **errors(curve.loss_R[used_R], predicted_R)})
    return pd.DataFrame(rows)


def errors(loss: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """n, mse, mae, mape, r2, worst and final_error of predictions; r2 is NaN where the loss doesn't vary."""
    loss_R, predicted_R = np.asarray(loss, float), np.asarray(predicted, float)
    error_R = predicted_R - loss_R
    spread = float(((loss_R - loss_R.mean()) ** 2).sum()) if loss_R.size else 0.0
    if not loss_R.size:
        return {"n": 0, **dict.fromkeys(("mse", "mae", "mape", "r2", "worst", "final_error"), float("nan"))}
    return {
        "n": loss_R.size,
        "mse": float((error_R**2).mean()),
        "mae": float(np.abs(error_R).mean()),
        "mape": float(np.abs(error_R / loss_R).mean()),
        "r2": 1 - float((error_R**2).sum()) / spread if spread > 0 else float("nan"),
        "worst": float(np.abs(error_R).max()),
        "final_error": float(error_R[-1]),
    }
