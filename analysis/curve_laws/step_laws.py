"""Laws of the step (or token) count alone: `PowerLaw`, `ReciprocalLaw`, `LogarithmicLaw`.

They know nothing of the learning rate: the baselines of every forecast. Each is linear in all but one parameter, so the
starts are least-squares solutions on a grid of that one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trajlab.analysis.curve_laws.curves import Curve
from trajlab.analysis.curve_laws.law import Law, Parameter, Rows

Array = NDArray[np.float64]


class StepLaw(Law):
    """A law whose one input is the step."""

    def _inputs(self, curves: Sequence[Curve], rows: Sequence[Rows]) -> Array:
        step_R = np.concatenate([c.step_R[r] for c, r in zip(curves, rows, strict=True)])
        return np.maximum(step_R, 1.0)  # the state before training counts as one step: laws diverge at zero

    def _scaled(self, inputs: Array) -> tuple[Array, float]:
        unit = float(np.exp(np.log(inputs).mean()))
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

    def _natural(self, values_Q: Array, units: float) -> Array:
        a, b, c = values_Q
        return np.array([a * units**b, b, c])

    def _start_values(self, inputs: Array, loss_R: Array) -> list[Array]:
        starts = []
        for b in (0.03, 0.08, 0.15, 0.3, 0.5, 0.8, 1.3, 2.0):
            a, c = linear_part([inputs**-b, np.ones_like(inputs)], loss_R)
            starts.append(np.array([a, b, c]))
        return starts

    def _value_and_gradient(self, values_Q: Array, inputs: Array) -> tuple[Array, Array]:
        a, b, c = values_Q
        power_R = inputs**-b
        gradient_RQ = np.column_stack([power_R, -a * power_R * np.log(inputs), np.ones_like(inputs)])
        return a * power_R + c, gradient_RQ


class ReciprocalLaw(StepLaw):
    """L = a / (b + N) + c."""

    name = "reciprocal"
    parameters = (Parameter("a", 1e-8, 1e6), Parameter("b", 0, 1e4, linear=True), Parameter("c", 0, 1e2, linear=True))

    def _natural(self, values_Q: Array, units: float) -> Array:
        a, b, c = values_Q
        return np.array([a * units, b * units, c])

    def _start_values(self, inputs: Array, loss_R: Array) -> list[Array]:
        starts = []
        for b in (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
            a, c = linear_part([1 / (b + inputs), np.ones_like(inputs)], loss_R)
            starts.append(np.array([a, b, c]))
        return starts

    def _value_and_gradient(self, values_Q: Array, inputs: Array) -> tuple[Array, Array]:
        a, b, c = values_Q
        inverse_R = 1 / (b + inputs)
        return a * inverse_R + c, np.column_stack([inverse_R, -a * inverse_R**2, np.ones_like(inputs)])


class LogarithmicLaw(StepLaw):
    """L = a − b·ln N."""

    name = "logarithmic"
    parameters = (Parameter("a", -1e3, 1e3, linear=True), Parameter("b", -1e2, 1e2, linear=True))

    def _natural(self, values_Q: Array, units: float) -> Array:
        a, b = values_Q
        return np.array([a + b * np.log(units), b])

    def _start_values(self, inputs: Array, loss_R: Array) -> list[Array]:
        return [linear_part([np.ones_like(inputs), -np.log(inputs)], loss_R)]

    def _value_and_gradient(self, values_Q: Array, inputs: Array) -> tuple[Array, Array]:
        a, b = values_Q
        log_R = np.log(inputs)
        return a - b * log_R, np.column_stack([np.ones_like(inputs), -log_R])


def linear_part(basis: Sequence[Array], loss_R: Array) -> Array:
    """Least-squares coefficients of the basis functions."""
    return np.asarray(np.linalg.lstsq(np.column_stack(basis), loss_R, rcond=None)[0], float)
