"""Curves in: `split_curves` checks a frame and gives one `Curve` for each of its curves."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Curve:
    """One training run: R rows in order of step."""

    name: str
    step_R: np.ndarray
    loss_R: np.ndarray
    """Nats per token; NaN where it was not measured (the row then only tells the learning rate)."""
    lr_R: np.ndarray | None = None

    def until(self, step: float) -> "Curve":
        """The rows up to ``step``, itself included."""
        keep = self.step_R <= step
        return Curve(self.name, self.step_R[keep], self.loss_R[keep], None if self.lr_R is None else self.lr_R[keep])


def split_curves(curves: pd.DataFrame) -> list[Curve]:
    """The curves of a frame with columns step, loss, and where there are any, curve and lr.

    Without a column ``curve`` the rows are one curve. ``step`` may count anything that time is measured in, tokens too;
    it may repeat (a run that went back to a checkpoint). Raises KeyError for a missing column, ValueError for negative
    steps, losses that are not positive, and rates that are missing or negative; both name the curve.
    """
    missing = [c for c in ("step", "loss") if c not in curves]
    if missing:
        raise KeyError(f"curves: no column {' nor '.join(missing)}; needed are curve, step, loss and for some laws lr")
    groups = curves.groupby("curve", sort=False) if "curve" in curves else [("curve", curves)]
    found = [_curve(str(name), rows) for name, rows in groups]
    if not found:
        raise ValueError("curves: the frame has no rows")
    return found


def _curve(name: str, rows: pd.DataFrame) -> Curve:
    rows = rows.sort_values("step", kind="stable")
    curve = Curve(
        name,
        rows["step"].to_numpy(float),
        rows["loss"].to_numpy(float),
        check_lr(rows["lr"].to_numpy(float), f"curve {name!r}") if "lr" in rows else None,
    )
    step_R, loss_R = curve.step_R, curve.loss_R
    if not np.isfinite(step_R).all() or (step_R < 0).any():
        raise ValueError(f"curve {name!r}: steps must be finite and not negative")
    wrong = ~np.isnan(loss_R) & ~((loss_R > 0) & np.isfinite(loss_R))
    if wrong.any():
        raise ValueError(
            f"curve {name!r}: loss {loss_R[wrong][0]} at step {step_R[wrong][0]:g}; the fit is on log loss, so losses must "
            "be positive and finite (NaN where not measured)"
        )
    return curve


def check_lr(lr: ArrayLike, where: str) -> np.ndarray:
    """``lr`` as an array; ValueError where a rate is missing, negative or infinite, or where all are zero."""
    lr_R = np.asarray(lr, float)
    if not np.isfinite(lr_R).all() or (lr_R < 0).any() or (lr_R.size and not lr_R.any()):
        raise ValueError(f"{where}: every row needs a finite learning rate ≥ 0, and one of them > 0")
    return lr_R
