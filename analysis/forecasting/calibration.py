"""Bands that cover: how far archived forecasts were off in units of their own spread (`Calibration`, split-conformal).

A posterior knows the noise and the misfit that it was told of, not how wrong a law is on the next family. So the band is not the
posterior's: it is forecast + spread · q, where q are quantiles of (truth − forecast) / spread over archived curves of other
families, taken at the same share seen, with the fall of the rate ahead or not, with the schedule known or not. The spread itself
grows with the horizon and with how far the rate falls. Quantiles are of families, not of curves: each curve weighs
`family_weights`. Where the schedule is not known the forecast is moved to the archive's median: most runs end in a fall of the
rate that no loss announces, so a law that goes on as before is too high.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trajlab.analysis.forecasting.archive import family_weights

SHIPPED = Path(__file__).parent / "calibration.csv"
"""Rebuilt together with the prior: ``python -m trajlab.analysis contest CURVES --rebuild FOLDER``."""
LEVELS = (0.05, 0.25, 0.75, 0.95)
SEEN_EDGES = (0.0, 0.15, 0.3, 0.5, 0.7, 1.0)
"""Shares of the horizon seen that are calibrated apart **(ours)**: the midpoints between the contest's fractions, rounded."""
FEWEST = 12
"""A cell with fewer archived forecasts is merged with the one without regard to the fall ahead **(ours)**."""
DEFAULT_Q = (-2.0, -0.8, 0.8, 2.0)
"""Where the archive has nothing alike: a little wider than a Gaussian's."""


@dataclass(frozen=True)
class Situation:
    """What decides how well a forecast can be."""

    seen: float
    """Steps seen as a share of the horizon."""
    known: bool
    """Whether the schedule up to the horizon is known."""
    ahead: bool
    """Whether the rate falls by more than a third of its peak from here on, none of which was seen."""

    @property
    def bucket(self) -> int:
        """Which of the shares seen."""
        return int(np.clip(np.searchsorted(SEEN_EDGES, self.seen, side="left") - 1, 0, len(SEEN_EDGES) - 2))


@dataclass(frozen=True)
class Calibration:
    """Quantiles of the scaled error for each situation."""

    table: pd.DataFrame
    """known, ahead, bucket, curves, families, q05, q25, q50, q75, q95."""

    @classmethod
    def shipped(cls) -> "Calibration":
        """The table that comes with trajlab."""
        return cls(pd.read_csv(SHIPPED))

    def write(self, path: Path) -> None:
        """As csv, to six digits."""
        self.table.to_csv(path, index=False, float_format="%.6g")

    def quantiles(self, situation: Situation) -> np.ndarray:
        """At `LEVELS`, in units of the spread, about the law's forecast."""
        found = self._cell(situation)
        return np.array(DEFAULT_Q) if found.empty else found[["q05", "q25", "q75", "q95"]].to_numpy(float)[0]

    def shift(self, situation: Situation) -> float:
        """Where the median lies in units of the spread; 0 where the schedule is known."""
        found = self._cell(situation)
        return 0.0 if situation.known or found.empty else float(found["q50"].iloc[0])

    def _cell(self, situation: Situation) -> pd.DataFrame:
        t = self.table
        return t[(t["known"] == situation.known) & (t["ahead"] == situation.ahead) & (t["bucket"] == situation.bucket)]


def calibrate(scaled: pd.DataFrame) -> Calibration:
    """From archived forecasts: family, known, ahead, bucket and z = (truth − forecast) / spread, one row per forecast."""
    rows = []
    for known, part in scaled.groupby("known"):
        for bucket, same in part.groupby("bucket"):
            for ahead in (False, True):
                cell = same[same["ahead"] == ahead]
                cell = same if len(cell) < FEWEST else cell
                if len(cell) < FEWEST:
                    continue
                q = _quantiles(cell["z"].to_numpy(float), list(cell["family"]), bool(known))
                size = {"curves": len(cell), "families": cell["family"].nunique()}
                rows.append({"known": known, "ahead": ahead, "bucket": bucket, **size, **q})
    columns = ["known", "ahead", "bucket", "curves", "families", "q05", "q25", "q50", "q75", "q95"]
    return Calibration(pd.DataFrame(rows, columns=columns))


def _quantiles(z_C: np.ndarray, families: Sequence[str], known: bool) -> dict[str, float]:
    """Weighted quantiles, each pushed out as split-conformal prediction does for one more family.

    What is exchangeable are families: a thousand curves of ten models are ten observations of how wrong the law is on another.
    """
    weight_C = family_weights(families)
    order = np.argsort(z_C)
    heights = np.cumsum(weight_C[order]) - weight_C[order] / 2
    found = {}
    for level in LEVELS:
        pushed = 0.5 + (level - 0.5) * (1 + 1 / len(set(families)))
        found[f"q{round(100 * level):02d}"] = float(np.interp(np.clip(pushed, 0, 1), heights, z_C[order]))
    median = float(np.interp(0.5, heights, z_C[order]))
    centre = 0.0 if known else median  # the forecast that is given must lie inside its own band
    low = {k: min(found[k], centre - 0.05) for k in ("q05", "q25")}
    return {**low, "q50": median, **{k: max(found[k], centre + 0.05) for k in ("q75", "q95")}}
