"""The temporal scaling law: the position law's parameters along training (docs/methods.md §3).

    L_i(N) = a0(N) / (1 + a1(N)·i) + a2(N)

Tokens are tokens for callers, millions of them (``n``) inside the forms. Shapes: K checkpoints, P positions, Q coefficients.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from trajlab.analysis.position_law import mean_hyperbola
from trajlab.analysis.temporal_law.evidence import Evidence
from trajlab.analysis.temporal_law.forms import Form
from trajlab.analysis.temporal_law.surface import PARAMETERS, loss_at, loss_gradient, millions, parameters_at


@dataclass(frozen=True)
class TemporalLaw:
    """Forms of a0, a1 and a2 with their coefficients."""

    forms: Mapping[str, Form]
    theta: Mapping[str, np.ndarray]
    """Coefficients by parameter, in the forms' order; per million tokens."""
    covariance_QQ: np.ndarray
    """Covariance of all coefficients, those of a0 first, from residuals clustered by checkpoint."""
    positions_P: np.ndarray
    last_tokens: float
    """The last checkpoint of the fit."""
    n_sep: float | None
    """Tokens up to which the learning rate is stable; None where it is stable throughout."""
    r2: float
    """Share of the variance over checkpoints and positions explained."""
    checkpoints: int
    converged: bool
    evidence: Evidence = field(repr=False)
    """What the law was fitted to."""

    def parameters_at(self, tokens: np.ndarray | float) -> np.ndarray:
        """a0, a1 and a2 at some tokens, of shape (3, K)."""
        return parameters_at(self.forms, self.theta, millions(tokens), self.positions_P)

    def predict(self, tokens: np.ndarray | float, n: int | None = None) -> np.ndarray:
        """The mean loss over positions 1 … n, of shape (K,); over the fit's own positions unless n is given."""
        a0_K, a1_K, a2_K = self.parameters_at(tokens)
        if n is not None:
            return mean_hyperbola(a0_K, a1_K, a2_K, n)
        return self.predict_positions(tokens).mean(1)

    def predict_positions(self, tokens: np.ndarray | float) -> np.ndarray:
        """The loss at each of the fit's positions, of shape (K, P)."""
        return loss_at(self.forms, self.theta, millions(tokens), self.positions_P)

    def gradient(self, tokens: np.ndarray | float) -> np.ndarray:
        """Derivatives of the mean loss over the fit's positions by all coefficients, of shape (K, Q)."""
        over_all_P1 = np.full((len(self.positions_P), 1), 1 / len(self.positions_P))
        return loss_gradient(self.forms, self.theta, millions(tokens), self.positions_P, over_all_P1)[:, 0]

    def table(self) -> pd.DataFrame:
        """One row per coefficient: parameter, form, coefficient, value, stderr."""
        errors_Q = np.sqrt(np.maximum(np.diag(self.covariance_QQ), 0))
        names = [(p, self.forms[p].name, c) for p in PARAMETERS for c in self.forms[p].coefficients]
        frame = pd.DataFrame(names, columns=["parameter", "form", "coefficient"])
        return frame.assign(value=np.concatenate([self.theta[p] for p in PARAMETERS]), stderr=errors_Q)
