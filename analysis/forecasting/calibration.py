"""Bands that cover: how far archived forecasts were off in units of their own spread (`Calibration`, split-conformal).

A posterior knows the noise and the misfit that it was told of, not how wrong a law is on the next family. So the band is not the
posterior's: it is forecast + spread · q, where q are quantiles of (truth − forecast) / spread over archived curves of other
families, taken at the same share seen, with the fall of the rate ahead or not, with the schedule known or not. The spread itself
grows with the horizon and with how far the rate falls. Quantiles are of families, not of curves: each family weighs the same. Where the schedule is not known the forecast is moved to the archive's median: most runs end in a fall of the
rate that no loss announces, so a law that goes on as before is too high.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

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

    def families(self, situation: Situation) -> int:
        """How many families the quantiles are of; 1 where they are a user's own runs, 0 where the archive has nothing alike."""
        found = self._cell(situation)
        return 0 if found.empty else int(found["families"].iloc[0])

    def reach(self, situation: Situation) -> tuple[float, float]:
        """How many spreads the band of 90 % reaches from the forecast, on its shorter and on its longer side."""
        shorter, longer = sorted(np.abs(self.quantiles(situation)[[0, 3]]))
        return float(shorter), float(longer)

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
    """Quantiles with each family weighing the same, pushed out from the median as far as one more family asks (`stretch`)."""
    names = pd.Series(list(families))
    weight_C = 1 / names.map(names.value_counts()).to_numpy(float)
    weight_C /= weight_C.sum()
    order = np.argsort(z_C)
    heights = np.cumsum(weight_C[order]) - weight_C[order] / 2
    median = float(np.interp(0.5, heights, z_C[order]))
    count = len(set(families))
    units = count if count > 1 else len(names)  # of one family the curves: a band for it alone
    found = {}
    for level in LEVELS:
        seen = float(np.interp(level, heights, z_C[order]))
        found[f"q{round(100 * level):02d}"] = median + (seen - median) * stretch(level, units)
    centre = 0.0 if known else median  # the forecast that is given must lie inside its own band
    low = {k: min(found[k], centre - 0.05) for k in ("q05", "q25")}
    return {**low, "q50": median, **{k: max(found[k], centre + 0.05) for k in ("q75", "q95")}}


def stretch(level: float, families: int) -> float:
    """How much farther from the centre than among F families seen a quantile lies for one more, as for draws of a Gaussian.

    The errors of a family are much alike, so ten models are ten observations of how wrong the law is on another. The ends of F
    draws hold at most (F − 1)/(F + 1) of the next ones: no quantile of nine families holds 90 %. So the tail is Student's,
    as in the prediction interval of a mean: t_{F−1}(level)/normal(level) · √((F + 1)/(F − 1)). Ten families: 1.23 at 95 %.
    """
    if families < 2:
        return 1.0
    tail = float(student.ppf(level, families - 1) / norm.ppf(level))
    return tail * float(np.sqrt((families + 1) / (families - 1)))
