"""The interface of every curve law: `Law`, its `Parameter`s, and `score`.

Shapes: R rows of a curve (or of all curves, one after the other), Q parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trajlab.analysis.curve_laws.curves import Curve, check_lr, split_curves
from trajlab.analysis.curve_laws.problem import Evidence, Problem
from trajlab.analysis.curve_laws.robust_fit import Minimum

Array = NDArray[np.float64]

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law, as the fit sees it: with inputs scaled to order one."""

    name: str
    low: float
    high: float
    linear: bool = False
    """Searched as it is; otherwise its log is."""
    expected: float | None = None
    """Where a shape is drawn to as far as the curves leave it open (`Law.prior_sd`)."""
    vagueness: float = 1.0
    """How many times ``prior_sd`` its spread about the expected value is."""

    def coordinate(self, value: float) -> float:
        """Value to coordinate."""
        return value if self.linear else float(np.log(value))

    def value(self, coordinate: float) -> tuple[float, float]:
        """Coordinate to value, and the derivative of the value."""
        value = coordinate if self.linear else float(np.exp(coordinate))
        return value, 1.0 if self.linear else value


class _FitOnClassOrInstance:
    """``PowerLaw.fit(curves, delta=…)`` and ``PowerLaw(delta=…).fit(curves)`` are the same thing."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        update_wrapper(self, function)  # type: ignore[arg-type]

    def __get__(self, law: Any, kind: type) -> Callable[..., Any]:
        def fit(curves: pd.DataFrame, **settings: Any) -> Any:
            if law is not None and settings:
                raise TypeError(f"{', '.join(settings)}: settings go to the law, {kind.__name__}(…).fit(curves)")
            return self.function(kind(**settings) if law is None else law, curves)

        return update_wrapper(fit, self.function)


class Law(ABC):
    """A parametric form of the loss along training.

    A subclass states its parameters, how inputs are built and scaled, the form with its exact gradient, and where to
    start; fitting, prediction, scoring and the bootstrap are the same for all.
    """

    name: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    needs_lr: ClassVar[bool] = False

    def __init__(
        self,
        params: Mapping[str, float] | None = None,
        *,
        delta: float = 1e-3,
        run_sd: float = 1e-3,
        prior_sd: float | None = 0.05,
        starts: int = 8,
    ) -> None:
        """``params`` gives a law whose parameters are known; without them it has to be fitted."""
        self.delta = delta
        """Where Huber's loss turns linear, in log loss."""
        self.run_sd = run_sd
        """How much whole runs differ by chance, in log loss: fitted beside the law when there are several, 0 for not."""
        self.prior_sd = prior_sd
        """Spread of the log of a shape parameter about its ``expected`` value; None for a fit without such a prior."""
        self.starts = starts
        """How many of the best start points are descended from."""
        self.evidence: Evidence | None = None
        """What the fit used and where it ended; None before a fit."""
        self._values: Array | None = None
        self._problem: Problem | None = None  # what was fitted, for the bootstrap
        self._minimum: Minimum | None = None
        if params is not None:
            self._values = np.array([params[p.name] for p in self.parameters], float)

    @property
    def params(self) -> dict[str, float]:
        """The parameters by name, in the units of the curves. RuntimeError before a fit."""
        return dict(zip((p.name for p in self.parameters), map(float, self._fitted()), strict=True))

    @_FitOnClassOrInstance
    def fit(self, curves: pd.DataFrame) -> Self:
        """Fit all curves of the frame (curve, step, loss[, lr]) together; returns the fitted law.

        Minimises Huber's loss of ln prediction − ln loss. Called on the class, keywords are the settings of the law.
        Raises ValueError where the curves can't determine the law: too few points, no learning rate where one is needed.
        """
        problem = Problem(self, split_curves(curves))
        minimum = problem.solve()
        self._problem, self._minimum = problem, minimum
        self._values = problem.natural(minimum.theta_Q)
        self.evidence = problem.evidence(minimum)
        return self

    def predict(self, step: ArrayLike, lr: ArrayLike | None = None) -> Array:
        """Loss in nats at each step of one run, whose learning rate at these steps is ``lr``.

        Any schedule will do, from the end of its warm-up on (or from its start): what comes before the first step is taken
        for warm-up. Between steps the rate is linear save for jumps; give every step where that is wrong. Raises ValueError
        where the law needs ``lr`` and has none.
        """
        return self._value(self._fitted(), self._asked(step, lr))

    def gradient(self, step: ArrayLike, lr: ArrayLike | None = None) -> Array:
        """Derivative of each predicted loss by each parameter (R × Q), exact."""
        return self._value_and_gradient(self._fitted(), self._asked(step, lr))[1]

    def __repr__(self) -> str:
        if self._values is None:
            return f"{type(self).__name__}(not fitted)"
        return f"{type(self).__name__}({', '.join(f'{k}={v:.5g}' for k, v in self.params.items())})"

    def _asked(self, step: ArrayLike, lr: ArrayLike | None) -> Any:
        step_R = np.atleast_1d(np.asarray(step, float))
        if (np.diff(step_R) < 0).any():
            raise ValueError("step: must not fall; predict one run at a time, in order of step")
        if self.needs_lr and lr is None:
            raise ValueError(f"{self.name} law: lr, the learning rate at each step, is needed")
        lr_R = None if lr is None else check_lr(np.broadcast_to(lr, step_R.shape), "lr")
        curve = Curve("asked", step_R, np.full_like(step_R, np.nan), lr_R)
        return self._inputs([curve], [np.ones(len(step_R), bool)])

    def _fitted(self) -> Array:
        if self._values is None:
            raise RuntimeError(f"{type(self).__name__}: fit(curves) first, or give params")
        return self._values

    def _measured(self, curve: Curve) -> Rows:
        """Rows of a curve that are fitted and scored."""
        return ~np.isnan(curve.loss_R)

    @abstractmethod
    def _inputs(self, curves: Sequence[Curve], rows: Sequence[Rows]) -> Any:
        """What the form is a function of, at the chosen rows of each curve."""

    @abstractmethod
    def _scaled(self, inputs: Any) -> tuple[Any, Any]:
        """Inputs of order one, and the units that they were divided by."""

    @abstractmethod
    def _natural(self, values_Q: Array, units: Any) -> Array:
        """Parameters for scaled inputs to parameters for the inputs as given."""

    @abstractmethod
    def _start_values(self, inputs: Any, loss_R: Array) -> list[Array]:
        """Start points for scaled inputs, more than will be used."""

    @abstractmethod
    def _value_and_gradient(self, values_Q: Array, inputs: Any) -> tuple[Array, Array]:
        """The form (R) and its derivatives by the parameters (R × Q)."""

    def _value(self, values_Q: Array, inputs: Any) -> Array:
        return self._value_and_gradient(values_Q, inputs)[0]


def score(law: Law, curves: pd.DataFrame) -> pd.DataFrame:
    """How well a fitted law predicts curves, seen or not: a row per curve.

    Columns: curve, law, n (points), mse, mae (nats), mape (a fraction), r2, worst (largest absolute error, nats) and
    final_error (prediction − loss at the last point).
    """
    rows = []
    for curve in split_curves(curves):
        used = law._measured(curve)
        predicted_R = law._value(law._fitted(), law._inputs([curve], [used]))
        rows.append({"curve": curve.name, "law": law.name, **errors(curve.loss_R[used], predicted_R)})
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
