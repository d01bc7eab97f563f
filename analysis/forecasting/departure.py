"""Curves that leave the law: a forecast must not go on trusting what has just failed on this very run.

All archived runs read fresh text, and their loss falls as `response` says. A run that reads the same text again and again
turns, and one whose rate is too high climbs: there the archive's bands say nothing. The backtest shows it. Fitted on the
first part of what was seen, `response` misses the last losses by more than its calibrated band allows. The run is then taken
to leave the law from now on as it left the backtest's, at the same rate and as far again. How much of that the law has taken
up, now that it is fitted to all losses, isn't known: the band reaches from no departure to twice that one.
"""

from dataclasses import dataclass

import numpy as np

LATE = 1 / 3
"""Share of the backtested losses, the last ones, whose mean error counts **(ours)**: one loss alone may be noise."""


@dataclass(frozen=True)
class Departure:
    """How far a run has left the law, and over how many steps."""

    error: float = 0.0
    """Nats; 0 where the run keeps to the law."""
    steps: float = 1.0

    @classmethod
    def of(cls, step_L: np.ndarray, error_L: np.ndarray, bound: float, start: float) -> "Departure":
        """From L backtested steps after ``start`` and their errors (loss less forecast).

        An error within ``bound``, half the calibrated 90 % band at the last of them, is no departure.
        """
        last = slice(-max(1, int(LATE * len(step_L))), None)
        error = float(np.mean(error_L[last]))
        return cls(error, float(np.mean(step_L[last])) - start) if abs(error) > bound else cls()

    def followed(
        self, mean_M: np.ndarray, spread_M: np.ndarray, ahead_M: np.ndarray, reach: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Forecast and spread of the run ``ahead_M`` steps from now; ``reach`` is how many spreads the 90 % band reaches on its shorter side."""
        shift_M = self.error * np.minimum(ahead_M / self.steps, 1.0)
        return mean_M + shift_M, np.hypot(spread_M, shift_M / reach)
