"""A law of the loss along training: it states its parameters, its form with the gradient, and where a fit may start."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trajlab.analysis.curve_laws import Parameter, StepLaw, linear_part


class SquareRootLaw(StepLaw):
    """L = a/√(N + b) + c."""

    name = "square_root"
    value_at_zero = True  # the row at step 0 counts
    parameters = (Parameter("a", 1e-6, 1e3), Parameter("b", 1e-6, 1e3), Parameter("c", 0, 1e2, linear=True))

    def natural(self, values_Q: NDArray[np.float64], units: float) -> NDArray[np.float64]:
        a, b, c = values_Q  # a fit sees steps divided by `units`
        return np.array([a * np.sqrt(units), b * units, c])

    def start_values(self, inputs: NDArray[np.float64], loss_R: NDArray[np.float64]) -> Sequence[NDArray[np.float64]]:
        shapes = [(b, 1 / np.sqrt(inputs + b)) for b in (0.01, 0.1, 1.0)]
        return [np.insert(linear_part([g_R, np.ones_like(g_R)], loss_R), 1, b) for b, g_R in shapes]

    def form_and_gradient(self, values_Q: NDArray, inputs: NDArray) -> tuple[NDArray, NDArray]:
        a, b, c = values_Q
        g_R = 1 / np.sqrt(inputs + b)
        return a * g_R + c, np.column_stack([g_R, -a / 2 * g_R**3, np.ones_like(inputs)])
