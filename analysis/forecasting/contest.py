"""The contest: laws are fitted on the first part of a run and scored on strictly later points.

- `Split`            the two parts of a run
- `Forecast`         the laws' projections beside what was measured; `Forecast.table` scores them
- `forecast_curve`   one curve of losses
- `forecast_table`   many curves and fractions

Shapes: T checkpoints of the whole run, K early ones, M later ones. Losses in nats per token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trajlab.analysis.curve_laws import Law, errors
from trajlab.analysis.forecasting.baselines import MeanLoss, project_curve
from trajlab.analysis.forecasting.projection import Projection

FRACTIONS = (0.1, 0.2, 0.4)
"""Of the tokens, on which laws are fitted (docs/methods.md §3)."""


@dataclass(frozen=True)
class Split:
    """A run in the order of its tokens, parted at a fraction of them."""

    fraction: float
    order_T: np.ndarray
    """Where the checkpoints, in the order of their tokens, stood in the arrays given."""
    tokens_T: np.ndarray
    early_T: np.ndarray
    """Which of the ordered checkpoints laws may see (a mask); the others are later, strictly."""

    @classmethod
    def at(cls, tokens: ArrayLike, fraction: float) -> "Split":
        """Raises ValueError where the fraction isn't inside (0, 1) or no checkpoint lies after it."""
        if not 0 < fraction < 1:
            raise ValueError(f"fraction={fraction} isn't between 0 and 1")
        tokens_T = np.asarray(tokens, float)
        order_T = np.argsort(tokens_T, kind="stable")
        early_T = tokens_T[order_T] <= fraction * tokens_T.max()
        if early_T.all():
            raise ValueError(f"no checkpoint lies after {fraction:.0%} of the tokens")
        return cls(fraction, order_T, tokens_T[order_T], early_T)

    def parts(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values at the early checkpoints and at the later ones."""
        ordered = values[self.order_T]
        return ordered[self.early_T], ordered[~self.early_T]

    def rates(self, lr: ArrayLike | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The same for a learning rate that may be unknown."""
        return (None, None) if lr is None else self.parts(np.asarray(lr, float))

    def judge(self, loss_T: np.ndarray, projections: Sequence[Projection]) -> "Forecast":
        """Put projections beside the losses (in the order given) that were measured later."""
        early_K, later_M = self.parts(loss_T)
        known_M = np.isfinite(later_M)
        kept = tuple(
            replace(p, loss_M=p.loss_M[known_M], low_M=p.low_M[known_M], high_M=p.high_M[known_M]) for p in projections
        )
        fitted = int(np.isfinite(early_K).sum())
        return Forecast(self.fraction, self.tokens_T[~self.early_T][known_M], later_M[known_M], kept, fitted)


@dataclass(frozen=True)
class Forecast:
    """Laws fitted on the first part of a run, and what came after."""

    fraction: float
    tokens_M: np.ndarray
    """Later checkpoints with a loss."""
    loss_M: np.ndarray
    """What was measured there: the mean over positions, nats."""
    projections: tuple[Projection, ...]
    fitted: int
    """Early checkpoints with a loss, those of the warm-up included."""

    def __getitem__(self, law: str) -> Projection:
        """A law's projection by name."""
        return next(p for p in self.projections if p.law == law)

    def table(self) -> pd.DataFrame:
        """One row per law: fraction, law, n_fit, n, mse, mae, mape, r2, worst, final_error (nats), inside, refused.

        ``inside`` is the share of losses in the band. Late losses hardly vary, so a negative r2 may go with a small mae.
        """
        return pd.DataFrame([self._row(p) for p in self.projections])

    def _row(self, p: Projection) -> dict[str, object]:
        inside = np.nan if p.refused else float(((self.loss_M >= p.low_M) & (self.loss_M <= p.high_M)).mean())
        scores = errors(self.loss_M, p.loss_M)
        row = {"fraction": self.fraction, "law": p.law, "n_fit": self.fitted, **scores}
        return {**row, "inside": inside, "refused": p.refused}


def forecast_curve(
    step: ArrayLike,
    loss: ArrayLike,
    fraction: float,
    lr: ArrayLike | None = None,
    laws: Sequence[type[Law]] | None = None,
    seed: int = 0,
) -> Forecast:
    """Fit each law on steps ≤ ``fraction`` · last step and forecast the later ones of the same run.

    ``step`` may be tokens. ``lr`` must cover the whole run: the rest of a schedule is known when it starts. ``laws`` are all
    that the run allows unless given. Steps before the end of the warm-up are not fitted; losses that are NaN are neither
    fitted nor scored, but their learning rates count. Raises ValueError where the fraction isn't inside (0, 1) or no step
    lies after it.
    """
    split, loss_T = Split.at(step, fraction), np.asarray(loss, float)
    tokens_K, tokens_M = split.parts(np.asarray(step, float))
    lr_K, lr_M = split.rates(lr)
    seen = MeanLoss.of(tokens_K, split.parts(loss_T)[0], lr_K)
    return split.judge(loss_T, project_curve(seen, tokens_M, lr_M, np.random.default_rng(seed), laws))


def forecast_table(
    curves: pd.DataFrame, fractions: Sequence[float] = FRACTIONS, laws: Sequence[type[Law]] | None = None
) -> pd.DataFrame:
    """`forecast_curve` for every curve of a frame (curve, step, loss[, lr]) and every fraction.

    Columns: curve and those of `Forecast.table`.
    """
    tables = [
        forecast_curve(run["step"], run["loss"], fraction, run.get("lr"), laws).table().assign(curve=name)
        for name, run in curves.groupby("curve", sort=False)
        for fraction in fractions
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[["curve", *table.columns.drop("curve")]]
