"""Forecasts by curve laws: fit on the first part of a curve, score on strictly later points.

`forecast_laws` for one curve, `forecast_table` for many curves and fractions. The temporal scaling law takes its
baselines from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trajlab.analysis.curve_laws import Law, LogarithmicLaw, PowerLaw, ReciprocalLaw, errors

Array = NDArray[np.float64]

FRACTIONS = (0.1, 0.2, 0.4)
STEP_LAWS: tuple[type[Law], ...] = (PowerLaw, ReciprocalLaw, LogarithmicLaw)
MINIMUM_SPARE = 2
"""Points beyond the number of parameters below which a law is not fitted."""


@dataclass(frozen=True)
class LawForecast:
    """What one law, fitted on the beginning, says about the rest."""

    name: str
    law: Law | None
    """The fitted law; None where it was refused."""
    refused: str
    """Why the evidence is too thin; empty where it is not."""
    step: Array
    """Later steps (or tokens)."""
    loss: Array
    """What was measured there, nats."""
    predicted: Array
    """What was forecast; NaN where refused."""
    fitted_points: int

    def row(self) -> dict[str, object]:
        """law, n_fit, n, mse, mae, mape, r2, worst, final_error, refused."""
        return {
            "law": self.name,
            "n_fit": self.fitted_points,
            **errors(self.loss, self.predicted),
            "refused": self.refused,
        }


def forecast_laws(
    step: ArrayLike,
    loss: ArrayLike,
    fraction: float,
    lr: ArrayLike | None = None,
    laws: Sequence[type[Law]] | None = None,
) -> list[LawForecast]:
    """Fit each law on steps ≤ ``fraction`` · last step and forecast the later ones of the same run.

    ``step`` may be tokens. Laws that need a learning rate are left out without ``lr``, which must cover the whole run:
    the rest of the schedule is known when it starts. Losses that are NaN are neither fitted nor scored. Raises
    ValueError where the fraction isn't inside (0, 1).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: {fraction} isn't between 0 and 1")
    frame = pd.DataFrame({"step": np.asarray(step, float), "loss": np.asarray(loss, float)})
    if lr is not None:
        frame["lr"] = np.asarray(lr, float)
    frame = frame.sort_values("step", ignore_index=True, kind="stable")
    chosen = STEP_LAWS if laws is None else laws
    return [_forecast(law, frame, fraction) for law in chosen if lr is not None or not law.needs_lr]


def _forecast(kind: type[Law], frame: pd.DataFrame, fraction: float) -> LawForecast:
    early = frame["step"].to_numpy() <= fraction * frame["step"].max()
    measured = frame["loss"].notna().to_numpy()
    later = ~early & measured
    n_fit = int((early & measured).sum())
    law, refused = None, ""
    predicted_R = np.full(len(frame), np.nan)
    if n_fit < len(kind.parameters) + MINIMUM_SPARE:
        refused = f"{n_fit} points for {len(kind.parameters)} parameters"
    else:
        try:
            law = kind.fit(frame[early])
            predicted_R = law.predict(frame["step"], frame["lr"] if kind.needs_lr else None)
        except ValueError as problem:
            refused = str(problem)
    step_R, loss_R = frame["step"].to_numpy(), frame["loss"].to_numpy()
    return LawForecast(kind.name, law, refused, step_R[later], loss_R[later], predicted_R[later], n_fit)


def forecast_table(
    curves: pd.DataFrame, fractions: Sequence[float] = FRACTIONS, laws: Sequence[type[Law]] | None = None
) -> pd.DataFrame:
    """`forecast_laws` for every curve of a frame (curve, step, loss[, lr]) and every fraction.

    Columns: curve, fraction and those of `LawForecast.row`.
    """
    rows = [
        {"curve": name, "fraction": fraction, **forecast.row()}
        for name, run in curves.groupby("curve", sort=False)
        for fraction in fractions
        for forecast in forecast_laws(run["step"], run["loss"], fraction, run.get("lr"), laws)
    ]
    return pd.DataFrame(rows)
