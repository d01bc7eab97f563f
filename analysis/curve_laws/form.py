"""What a curve law states: its parameters, its form and the form's gradient (`Form`, `Parameter`).

`problem` fits whatever is stated here; `law` adds prediction. Nothing here knows how a fit works.
Shapes: R rows of a curve (or of all curves, one after the other), Q parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np

from trajlab.analysis.curve_laws.curves import Curve

X = TypeVar("X")
"""What a form is a function of: an array of steps, say, or the paths of the learning rate."""
U = TypeVar("U")
"""The units that the inputs are divided by before a fit."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law, as the fit sees it: with inputs scaled to order one."""

    name: str
    low: float
    high: float
    linear: bool = False
    """Searched as it is; otherwise its log is."""
    expected: float | None = None
    """The value that a shape is drawn to as far as the curves leave it open (see `problem`)."""
    vagueness: float = 1.0
    """How many times the fit's ``prior_sd`` its spread about the expected value is."""

    def coordinate(self, value: float) -> float:
        """The coordinate of a value."""
        return value if self.linear else float(np.log(value))

    def value(self, coordinate: float) -> tuple[float, float]:
        """The value at a coordinate, and its derivative by the coordinate."""
        value = coordinate if self.linear else float(np.exp(coordinate))
        return value, 1.0 if self.linear else value


class Form(ABC, Generic[X, U]):
    """The part of a law that its author writes."""

    name: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    needs_lr: ClassVar[bool] = False
    """Whether the law is a function of the learning rate."""

    def measured(self, curve: Curve) -> np.ndarray:
        """The rows of a curve that are fitted and scored (a mask): those with a loss, where the law has a value."""
        return ~np.isnan(curve.loss_R)

    @abstractmethod
    def inputs(self, curves: Sequence[Curve], rows: Sequence[np.ndarray]) -> X:
        """What the form is a function of, at the chosen rows (a mask for each curve)."""

    @abstractmethod
    def scaled(self, inputs: X) -> tuple[X, U]:
        """The inputs divided by units that make them of order one, and these units."""

    @abstractmethod
    def natural(self, values_Q: np.ndarray, units: U) -> np.ndarray:
        """Turn parameters that hold for scaled inputs into parameters for the inputs as given."""

    @abstractmethod
    def start_values(self, inputs: X, loss_R: np.ndarray) -> list[np.ndarray]:
        """Parameters for scaled inputs to start a fit from. Give more than will be used: the best are chosen."""

    @abstractmethod
    def form_and_gradient(self, values_Q: np.ndarray, inputs: X) -> tuple[np.ndarray, np.ndarray]:
        """The loss in nats (R) and its exact derivatives by the parameters (R × Q)."""

    def form(self, values_Q: np.ndarray, inputs: X) -> np.ndarray:
        """The loss alone (R). Override it where the gradient is expensive."""
        return self.form_and_gradient(values_Q, inputs)[0]
