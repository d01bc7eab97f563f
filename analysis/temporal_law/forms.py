"""Forms that a position law's parameters may follow along training, by name in `FORMS`.

Published are "logarithmic, hyperbolic and piecewise cosine"; the formulas here are reconstructed from that (docs/methods.md
§3). A new form is a subclass of `Form` under `@register`. Shapes: K checkpoints, Q coefficients. ``n`` is millions of
tokens, so that coefficients are of readable size; 0 is no argument of any form.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import numpy as np

__all__ = ["FORMS", "Constant", "Form", "Hyperbolic", "Logarithmic", "PiecewiseCosine", "Power", "register"]

Bounds = tuple[np.ndarray, np.ndarray]


class Form(ABC):
    """A function of the tokens seen with a few coefficients."""

    name: ClassVar[str]
    coefficients: ClassVar[tuple[str, ...]]

    @abstractmethod
    def value(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """The function, of shape (K,)."""

    @abstractmethod
    def gradient(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """Its derivatives by the coefficients, of shape (K, Q)."""

    @abstractmethod
    def starts(self, n_K: np.ndarray, y_K: np.ndarray, weights_K: np.ndarray) -> list[np.ndarray]:
        """Coefficients to descend from, the best first."""

    def bounds(self, n_K: np.ndarray) -> Bounds:
        """Lowest and highest coefficients, for data at ``n_K``."""
        q = len(self.coefficients)
        return np.full(q, -np.inf), np.full(q, np.inf)


FORMS: dict[str, type[Form]] = {}

F = TypeVar("F", bound=type[Form])


def register(form: F) -> F:
    """Make a form known by its name. Raises ValueError where the name is taken."""
    if form.name in FORMS:
        raise ValueError(f"a form named {form.name!r} is registered already")
    FORMS[form.name] = form
    return form


@register
class Constant(Form):
    """c, in a range if one is given."""

    name = "constant"
    coefficients = ("c",)

    def __init__(self, low: float = -np.inf, high: float = np.inf) -> None:
        self.low, self.high = low, high

    def value(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """c."""
        return np.full(len(n_K), theta_Q[0])

    def gradient(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """1."""
        return np.ones((len(n_K), 1))

    def starts(self, n_K: np.ndarray, y_K: np.ndarray, weights_K: np.ndarray) -> list[np.ndarray]:
        """The weighted mean."""
        return [np.array([np.average(y_K, weights=weights_K)])]

    def bounds(self, n_K: np.ndarray) -> Bounds:
        """The range."""
        return np.array([self.low]), np.array([self.high])


@register
class Logarithmic(Form):
    """α1·ln n + α2: a0 along training."""

    name = "logarithmic"
    coefficients = ("alpha1", "alpha2")

    def value(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """α1·ln n + α2."""
        return theta_Q[0] * np.log(n_K) + theta_Q[1]

    def gradient(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """ln n and 1."""
        return np.stack([np.log(n_K), np.ones(len(n_K))], 1)

    def starts(self, n_K: np.ndarray, y_K: np.ndarray, weights_K: np.ndarray) -> list[np.ndarray]:
        """The least-squares line in ln n."""
        return [_linear([np.log(n_K), np.ones(len(n_K))], y_K, weights_K)[0]]


@register
class Hyperbolic(Form):
    """b1 / (1 + b2·n) + b3: a1 along training (β), and a2 while the learning rate is stable (γ)."""

    name = "hyperbolic"
    coefficients = ("b1", "b2", "b3")

    def __init__(self, positive: bool = False) -> None:
        self.positive = positive
        """Falling to a limit above 0: what a length scale must do, so that the position law has no pole."""

    def value(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """b1 / (1 + b2·n) + b3."""
        return theta_Q[0] / (1 + theta_Q[1] * n_K) + theta_Q[2]

    def gradient(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """1/(1 + b2·n), −b1·n/(1 + b2·n)², 1."""
        h_K = 1 / (1 + theta_Q[1] * n_K)
        return np.stack([h_K, -theta_Q[0] * n_K * h_K**2, np.ones(len(n_K))], 1)

    def starts(self, n_K: np.ndarray, y_K: np.ndarray, weights_K: np.ndarray) -> list[np.ndarray]:
        """The best of a grid of b2, b1 and b3 solved for at each."""
        low, high = (b[1] for b in self.bounds(n_K))
        found = []
        for b2 in np.geomspace(low, high, 30)[1:-1]:
            (b1, b3), sse = _linear([1 / (1 + b2 * n_K), np.ones(len(n_K))], y_K, weights_K)
            found.append((sse, np.array([b1, b2, b3])))
        found.sort(key=lambda item: item[0])
        return [theta for _, theta in found[:9:4]]  # neighbours on the grid lead to one minimum

    def bounds(self, n_K: np.ndarray) -> Bounds:
        """b2 from where the curve is a straight line over the data to where it is c/n."""
        floor = 0.0 if self.positive else -np.inf
        return np.array([floor, 0.01 / n_K.max(), floor]), np.array([np.inf, 100 / n_K.min(), np.inf])


@register
class Power(Form):
    """a·n^(−b) + c."""

    name = "power"
    coefficients = ("a", "b", "c")

    def value(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """a·n^(−b) + c."""
        return theta_Q[0] * n_K ** -theta_Q[1] + theta_Q[2]

    def gradient(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """n^(−b), −a·ln n·n^(−b), 1."""
        p_K = n_K ** -theta_Q[1]
        return np.stack([p_K, -theta_Q[0] * np.log(n_K) * p_K, np.ones(len(n_K))], 1)

    def starts(self, n_K: np.ndarray, y_K: np.ndarray, weights_K: np.ndarray) -> list[np.ndarray]:
        """Several exponents, a and c solved for at each."""
        found = []
        for b in (0.05, 0.2, 0.5, 1.0, 2.0):
            (a, c), sse = _linear([n_K**-b, np.ones(len(n_K))], y_K, weights_K)
            found.append((sse, np.array([a, b, c])))
        found.sort(key=lambda item: item[0])
        return [theta for _, theta in found[:3]]

    def bounds(self, n_K: np.ndarray) -> Bounds:
        """An exponent between 0.001 and 5."""
        return np.array([-np.inf, 1e-3, -np.inf]), np.array([np.inf, 5.0, np.inf])


@register
class PiecewiseCosine(Form):
    """γ1 / (1 + γ2·n) + γ3 up to ``n_sep``, from there γ4·cos(γ5·n + γ6) + γ7: a2 where the learning rate decays."""

    name = "piecewise_cosine"
    coefficients = ("gamma1", "gamma2", "gamma3", "gamma4", "gamma5", "gamma6", "gamma7")

    def __init__(self, n_sep: float, n_end: float | None = None) -> None:
        self.n_sep = n_sep
        """Millions of tokens up to which the rate is stable."""
        self.n_end = n_end
        """Millions of tokens at which the decay ends, where the schedule tells: the cosine is then half a period from n_sep to
        there. None leaves its period to the losses, which the first part of a decay hardly tells."""
        self._before = Hyperbolic()

    def value(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """The piece that each n lies in."""
        cosine_K = theta_Q[3] * np.cos(theta_Q[4] * n_K + theta_Q[5]) + theta_Q[6]
        return np.where(n_K <= self.n_sep, self._before.value(theta_Q[:3], n_K), cosine_K)

    def gradient(self, theta_Q: np.ndarray, n_K: np.ndarray) -> np.ndarray:
        """The piece's own derivatives, 0 for the other's."""
        angle_K = theta_Q[4] * n_K + theta_Q[5]
        sine_K = -theta_Q[3] * np.sin(angle_K)
        free = 0.0 if self.n_end is not None else 1.0  # a period that the schedule tells is no coefficient to estimate
        after_K4 = np.stack([np.cos(angle_K), free * n_K * sine_K, free * sine_K, np.ones(len(n_K))], 1)
        before_K1 = (n_K <= self.n_sep)[:, None]
        return np.concatenate([self._before.gradient(theta_Q[:3], n_K) * before_K1, after_K4 * ~before_K1], 1)

    def starts(self, n_K: np.ndarray, y_K: np.ndarray, weights_K: np.ndarray) -> list[np.ndarray]:
        """The hyperbola's starts with cosines of half and a quarter of a period over the decay."""
        before_K = n_K <= self.n_sep
        n_M, y_M, weights_M = n_K[~before_K], y_K[~before_K], weights_K[~before_K]
        heads = self._before.starts(n_K[before_K], y_K[before_K], weights_K[before_K])
        tails = []
        end = n_K.max() if self.n_end is None else self.n_end
        for share in (1.0, 0.5, 0.25) if self.n_end is None else (1.0,):
            rate = np.pi * share / (end - self.n_sep)
            cosine_M = np.cos(rate * (n_M - self.n_sep))
            (height, level), sse = _linear([cosine_M, np.ones(len(n_M))], y_M, weights_M)
            tails.append((sse, np.array([height, rate, -rate * self.n_sep, level])))
        tails.sort(key=lambda item: item[0])
        return [np.concatenate([head, tail]) for head in heads for _, tail in tails]

    def bounds(self, n_K: np.ndarray) -> Bounds:
        """At most a period of the cosine over the decay; half a period, from n_sep to n_end, where the schedule tells it."""
        low, high = self._before.bounds(n_K[n_K <= self.n_sep])
        fastest = 2 * np.pi / (n_K.max() - self.n_sep)
        if self.n_end is not None:
            rate = np.pi / (self.n_end - self.n_sep)
            known, margin = np.array([rate, -rate * self.n_sep]), 1e-9 * rate * max(self.n_sep, 1.0)
            return (
                np.concatenate([low, [-np.inf], known - margin, [-np.inf]]),
                np.concatenate([high, [np.inf], known + margin, [np.inf]]),
            )
        return (
            np.concatenate([low, [-np.inf, 0.0, -np.inf, -np.inf]]),
            np.concatenate([high, [np.inf, fastest, np.inf, np.inf]]),
        )


def _linear(basis: Sequence[np.ndarray], y_K: np.ndarray, weights_K: np.ndarray) -> tuple[np.ndarray, float]:
    """Weighted least squares on a basis, and its sum of squares."""
    root_K = np.sqrt(weights_K)
    design = np.stack(basis, 1) * root_K[:, None]
    theta, *_ = np.linalg.lstsq(design, y_K * root_K, rcond=None)
    residual = y_K * root_K - design @ theta
    return theta, float(residual @ residual)
