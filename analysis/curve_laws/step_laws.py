"""Laws of the step (or token) count alone: `PowerLaw`, `ReciprocalLaw`, `LogarithmicLaw`.

They know nothing of the learning rate: the baselines of every forecast. Each is linear in all but one parameter, so the
starts are least-squares solutions on a grid of that one.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from trajlab.analysis.curve_laws.curves import Curve
from trajlab.analysis.curve_laws.form import Parameter
from trajlab.analysis.curve_laws.law import Law

SMALLEST_SHIFT = 1e-12
"""What b + N counts as at least in the reciprocal law: at b = 0 and N = 0 it has no value, and a fit may pass there."""


class StepLaw(Law[np.ndarray, float]):
    """A law whose one input is the step N, counted in anything: steps, tokens, billions of tokens."""

    value_at_zero: ClassVar[bool] = False
    """Whether the law has a value at N = 0; where it has none, such rows are neither fitted nor scored."""

    def measured(self, curve: Curve) -> np.ndarray:
        """Rows with a loss, but for N = 0 where the law has no value there."""
        return super().measured(curve) & (self.value_at_zero | (curve.step_R > 0))

    def inputs(self, curves: Sequence[Curve], rows: Sequence[np.ndarray]) -> np.ndarray:
        """The steps; NaN for a step at which the law has no value."""
        step_R = np.concatenate([c.step_R[r] for c, r in zip(curves, rows, strict=True)])
        return np.where(self.value_at_zero | (step_R > 0), step_R, np.nan)

    def scaled(self, inputs: np.ndarray) -> tuple[np.ndarray, float]:
        """Steps in units of their geometric mean. Raises ValueError where no step is above 0."""
        if not (inputs > 0).any():
            raise ValueError(f"{self.name} law: no loss was measured after step 0")
        unit = float(np.exp(np.log(inputs[inputs > 0]).mean()))
        return inputs / unit, unit


class PowerLaw(StepLaw):
    """L = a·N^(−b) + c.

    >>> import numpy as np, pandas as pd
    >>> step = np.arange(100, 5000, 100)
    >>> law = PowerLaw.fit(pd.DataFrame({"step": step, "loss": 2.0 + 9 * step**-0.3}))
    >>> law
    PowerLaw(a=9, b=0.3, c=2)
    >>> law.predict([50_000]).round(3)
    array([2.35])
    """

    name = "power"
    parameters = (Parameter("a", 1e-8, 1e3), Parameter("b", 1e-3, 10), Parameter("c", 0, 1e2, linear=True))

    def natural(self, values_Q: np.ndarray, units: float) -> np.ndarray:
        """Undo the scaling."""
        a, b, c = values_Q
        return np.array([a * units**b, b, c])

    def start_values(self, inputs: np.ndarray, loss_R: np.ndarray) -> list[np.ndarray]:
        """A grid of the one parameter that is not linear, the others solved for."""
        starts = []
        for b in (0.03, 0.08, 0.15, 0.3, 0.5, 0.8, 1.3, 2.0):
            a, c = linear_part([inputs**-b, np.ones_like(inputs)], loss_R)
            starts.append(np.array([a, b, c]))
        return starts

    def form_and_gradient(self, values_Q: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss and its derivatives."""
        a, b, c = values_Q
        power_R = inputs**-b
        gradient_RQ = np.column_stack([power_R, -a * power_R * np.log(inputs), np.ones_like(inputs)])
        return a * power_R + c, gradient_RQ


class ReciprocalLaw(StepLaw):
    """L = a / (b + N) + c."""

    name = "reciprocal"
    value_at_zero = True
    parameters = (Parameter("a", 1e-8, 1e6), Parameter("b", 0, 1e4, linear=True), Parameter("c", 0, 1e2, linear=True))

    def natural(self, values_Q: np.ndarray, units: float) -> np.ndarray:
        """Undo the scaling."""
        a, b, c = values_Q
        return np.array([a * units, b * units, c])

    def start_values(self, inputs: np.ndarray, loss_R: np.ndarray) -> list[np.ndarray]:
        """A grid of the one parameter that is not linear, the others solved for."""
        starts = []
        for b in (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
            a, c = linear_part([1 / np.maximum(b + inputs, SMALLEST_SHIFT), np.ones_like(inputs)], loss_R)
            starts.append(np.array([a, b, c]))
        return starts

    def form_and_gradient(self, values_Q: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss and its derivatives."""
        a, b, c = values_Q
        inverse_R = 1 / np.maximum(b + inputs, SMALLEST_SHIFT)
        return a * inverse_R + c, np.column_stack([inverse_R, -a * inverse_R**2, np.ones_like(inputs)])


class LogarithmicLaw(StepLaw):
    """L = a − b·ln N."""

    name = "logarithmic"
    parameters = (Parameter("a", -1e3, 1e3, linear=True), Parameter("b", -1e2, 1e2, linear=True))

    def natural(self, values_Q: np.ndarray, units: float) -> np.ndarray:
        """Undo the scaling."""
        a, b = values_Q
        return np.array([a + b * np.log(units), b])

    def start_values(self, inputs: np.ndarray, loss_R: np.ndarray) -> list[np.ndarray]:
        """The least-squares solution: all parameters are linear."""
        return [linear_part([np.ones_like(inputs), -np.log(inputs)], loss_R)]

    def form_and_gradient(self, values_Q: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss and its derivatives."""
        a, b = values_Q
        log_R = np.log(inputs)
        return a - b * log_R, np.column_stack([np.ones_like(inputs), -log_R])


def linear_part(basis: Sequence[np.ndarray], loss_R: np.ndarray) -> np.ndarray:
    """Least-squares coefficients of the basis functions."""
    return np.asarray(np.linalg.lstsq(np.column_stack(basis), loss_R, rcond=None)[0], float)
