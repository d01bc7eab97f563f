"""How sure a fit is: `bootstrap` refits a law to perturbed curves.

A replicate adds resampled residuals to the measured log losses (whole blocks of neighbours, within each run, since residuals
are correlated) and draws the centres of the priors anew, where the law has some. Its spread is that of the fit, and
it stays centred on the fit where the law bends away from the curves. It says how far noise like that of the fitted curves
moves the fit. What the law itself gets wrong on schedules unlike the fitted ones isn't in it: `score` measures that.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trajlab.analysis.curve_laws.law import Law
from trajlab.analysis.curve_laws.robust_fit import polish


@dataclass(frozen=True)
class Bootstrap:
    """A law refitted to resampled curves."""

    law: Law
    """The fit to the curves themselves."""
    replicates: tuple[Law, ...]
    residual_R: np.ndarray
    """Log residuals of the fit, for bands that include noise."""

    @property
    def params(self) -> pd.DataFrame:
        """One row per replicate, one column per parameter."""
        return pd.DataFrame([r.params for r in self.replicates])

    def intervals(self, level: float = 0.95) -> pd.DataFrame:
        """Percentile intervals: parameter, estimate, low, high."""
        tail = (1 - level) / 2
        bounds = self.params.quantile([tail, 1 - tail])
        rows = {"estimate": self.law.params, "low": bounds.iloc[0], "high": bounds.iloc[1]}
        return pd.DataFrame(rows).rename_axis("parameter").reset_index()

    def band(
        self, step: ArrayLike, lr: ArrayLike | None = None, level: float = 0.95, *, noise: bool = False, seed: int = 0
    ) -> pd.DataFrame:
        """Percentile band of the prediction: step, predicted, low, high in nats.

        With ``noise`` it is for losses to be measured, without for the curve. For one run, as `Law.predict`.
        """
        predicted_BR = np.stack([r.predict(step, lr) for r in self.replicates])
        if noise:
            draws_BR = np.random.default_rng(seed).choice(self.residual_R, predicted_BR.shape)
            predicted_BR = predicted_BR * np.exp(draws_BR)
        low_R, high_R = np.quantile(predicted_BR, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return pd.DataFrame(
            {
                "step": np.atleast_1d(np.asarray(step, float)),
                "predicted": self.law.predict(step, lr),
                "low": low_R,
                "high": high_R,
            }
        )


def bootstrap(law: Law, replicates: int = 100, *, block: int | None = None, seed: int = 0) -> Bootstrap:
    """Refit ``law`` to ``replicates`` perturbations of its curves.

    ``block`` is the length of a block in points; by default three times the residuals' correlation time. Each refit
    starts at the fit, so a replicate costs a fraction of it. Raises RuntimeError for a law that was not fitted.
    """
    if law.result is None:
        raise RuntimeError(f"{type(law).__name__}: fit(curves) before bootstrap; given parameters have no residuals")
    problem, minimum, evidence = law.result.problem, law.result.minimum, law.result.evidence
    rng = np.random.default_rng(seed)
    residual_R = problem.log_residuals(minimum)
    length = block or max(1, round(3 * evidence.correlation_time))
    refits = []
    for _ in range(replicates):
        drawn_R = np.concatenate(
            [_blocks(residual_R[problem.run_R == i], length, rng) for i in np.unique(problem.run_R)]
        )
        centre_Q = problem.prior_centre + problem.prior_sd * rng.standard_normal(len(problem.prior_sd))
        objective = problem.objective(problem.loss_R * np.exp(drawn_R), centre_Q)
        found = polish(objective, minimum.theta_Q, evaluations=60)
        refits.append(law.with_values(problem.natural(found.theta_Q)))
    return Bootstrap(law, tuple(refits), residual_R)


def _blocks(residual_R: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """As many residuals, in blocks that start anywhere and wrap around; their mean taken out."""
    n = len(residual_R)
    starts = rng.integers(0, n, -(-n // length))
    picks = (starts[:, None] + np.arange(length)).ravel()[:n] % n
    return residual_R[picks] - residual_R.mean()
