"""What is simulated of a verdict, and of an interval."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajlab.analysis.claims.claim import CONTRADICTED, SUPPORTED
from trajlab.analysis.token_trends.chance import ar1

Simulate = Callable[[np.random.Generator], str]
"""Draws one data set and gives the verdict on it."""
Cover = Callable[[np.random.Generator], bool]
"""Draws one data set and says whether the interval holds the true value."""
SEEDS, INTERVALS = 6, 21
BOTH = (SUPPORTED, CONTRADICTED)
NOISES = ("white", "AR(0.9)", "random walk")


@dataclass(frozen=True)
class Kind:
    """One kind of verdict: data sets without the effect, with the words that are wrong there, and with it."""

    nulls: Mapping[str, tuple[Simulate, tuple[str, ...]]]
    effects: Mapping[str, tuple[Simulate, str]]
    """What was planted: the simulation, and the right word."""


@dataclass(frozen=True)
class Interval:
    """One kind of 95 % interval that a report prints, and data sets in which the true value is known."""

    situations: Mapping[str, Cover]
    printed_by: tuple[str, ...]
    """Modules below trajlab.analysis that print it."""


def noise(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """One of `NOISES`, unit variance or unit steps."""
    return ar1({"white": 0.0, "AR(0.9)": 0.9, "random walk": 1.0}[name], shape, rng)
