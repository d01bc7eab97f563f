"""What a schedule-aware law sees of a learning-rate schedule: areas and drops.

`lr_path` turns the rates of one run into the area under them at each row and the list of drops η_{k−1} − η_k. Sums run over all
steps, not rows: between two rows the rate is taken as linear, for which the sum of rates over the steps in between is exact,
save that a sudden change takes place at the row that shows it first (`jumps`).
Shapes: R rows, D drops.
"""

from dataclasses import dataclass, replace

import numpy as np

from trajlab.analysis.curve_laws.curves import Curve

MAX_DROPS = 512
"""More drops than this are merged, neighbours first: a cosine given at each of 72,000 steps has as many drops as steps, and
the law needs every pair of row and drop."""

JUMP = 0.1
"""A change between neighbouring rows by more than this part of the highest rate may be a jump."""


@dataclass(frozen=True)
class LrPath:
    """One run's schedule after its warm-up."""

    area_R: np.ndarray
    """Area under the warm-up plus Σ η over the steps since, up to and including each row's."""
    step_R: np.ndarray
    drop_D: np.ndarray
    """η_{k−1} − η_k; negative where the rate rises again."""
    lr_D: np.ndarray
    """η_k, the rate that a drop leads to."""
    area_before_D: np.ndarray
    """Area up to and including step k − 1: S_k(t) is the area at t less this."""
    step_before_D: np.ndarray
    """Step k − 1."""
    peak: int
    """The first row after the warm-up; rows before it are not described by the laws."""
    top: float
    """The highest rate."""
    one_step: float = 1.0
    """The length of one optimizer step in the units of ``step_R``; 0 where time is continuous."""

    def at(self, rows_R: np.ndarray) -> "LrPath":
        """The same schedule seen from some of its rows (a mask); areas of 0, where the laws have no value, are NaN."""
        area_R = self.area_R[rows_R]
        return replace(self, area_R=np.where(area_R > 0, area_R, np.nan), step_R=self.step_R[rows_R])

    def scaled(self, area: float, lr: float, step: float) -> "LrPath":
        """In other units."""
        return LrPath(
            self.area_R / area,
            self.step_R / step,
            self.drop_D / lr,
            self.lr_D / lr,
            self.area_before_D / area,
            self.step_before_D / step,
            self.peak,
            self.top / lr,
            self.one_step / step,
        )


def step_length(step_R: np.ndarray) -> float:
    """The length of an optimizer step in the unit of ``step_R``: 1 where all are whole numbers, 0 otherwise.

    Whole numbers count steps, or tokens, of which one is so little that it changes nothing. Fractions are of a unit that holds
    many steps, billions of tokens say: time is then continuous, and sums over steps become integrals.
    """
    return 1.0 if (step_R == np.round(step_R)).all() else 0.0


def lr_path(
    curve: Curve, warmup_area: float | None = None, count_warmup: bool = False, one_step: float | None = None
) -> LrPath:
    """The areas and drops of one run.

    Rows at the start over which the rate rises are the warm-up. The area before the first row is ``warmup_area``: the
    area under a linear warm-up to the first row's rate η₀, so that steps between its end (2 · area / η₀) and the first row
    count at η₀. None takes the warm-up as ending at the first row: η₀ · step / 2. With ``count_warmup`` the rise of the rate
    over the warm-up is among the drops, as negative ones. ``one_step`` is the length of an optimizer step in the curve's
    unit of time; None reads it off the steps (`step_length`).
    """
    assert curve.lr_R is not None
    step_R, lr_R = curve.step_R, curve.lr_R
    one = step_length(step_R) if one_step is None else one_step
    gap_R, drop_R = np.diff(step_R), -np.diff(lr_R)
    # a ramp takes all steps of its gap; a jump only the last
    ramp_R = np.where(jumps(step_R, lr_R, one), np.minimum(gap_R, one), gap_R)
    first = _area_before(step_R[0], lr_R[0], warmup_area)
    # Σ_{j=1..d} of a rate that goes linearly from η_prev (not counted) to η_row (counted), over d steps
    inner_R = gap_R * lr_R[:-1] - drop_R * (ramp_R + np.minimum(ramp_R, one)) / 2
    area_R = first + np.concatenate([[0.0], np.cumsum(inner_R)])
    peak = _end_of_rise(lr_R)
    is_drop_R = (drop_R != 0) & (count_warmup | (np.arange(len(drop_R)) >= peak))
    drops = _merged(_drops(step_R, lr_R, area_R, ramp_R, one)[is_drop_R], MAX_DROPS)
    if count_warmup:
        drops = np.concatenate([_linear_warmup(step_R[0], lr_R[0], first, warmup_area), drops])
    drop_D, lr_D, area_D, before_D = drops.T
    top = lr_R.max()
    return LrPath(area_R, step_R, drop_D, np.maximum(lr_D, 1e-9 * top), area_D, before_D, peak, top, one)


def _drops(step_R: np.ndarray, lr_R: np.ndarray, area_R: np.ndarray, ramp_R: np.ndarray, one: float) -> np.ndarray:
    """The fall over each gap: its size, the rate it leads to, the area and the step before it.

    The drops of a ramp, one at each of its steps, stand at their mean.
    """
    gap_R, drop_R = np.diff(step_R), -np.diff(lr_R)
    length_R = np.maximum(ramp_R, one)
    at_mean_R = np.divide(ramp_R + one, 2 * length_R, out=np.ones_like(ramp_R), where=ramp_R > 0)
    before_R = gap_R - ramp_R + np.maximum(ramp_R - one, 0) / 2
    # mean over a ramp's steps j = 1…d of Σ_{i<j} i/d: what the fall of the rate takes from the mean area before a step
    inner_R = np.divide(
        (length_R - one) * (length_R + one), 6 * length_R, out=np.zeros_like(ramp_R), where=length_R > 0
    )
    return np.column_stack(
        [
            drop_R,
            np.where(gap_R > 0, lr_R[:-1] - drop_R * at_mean_R, lr_R[1:]),
            area_R[:-1] + before_R * lr_R[:-1] - drop_R * inner_R,
            step_R[:-1] + before_R,
        ]
    )


def jumps(step_R: np.ndarray, lr_R: np.ndarray, one: float = 1.0) -> np.ndarray:
    """Which gaps between rows hold a sudden change (a mask): large, and at least ten times as steep as those beside it."""
    gap_R, change_R = np.diff(step_R), np.abs(np.diff(lr_R))
    shortest = one or gap_R[gap_R > 0].min(initial=np.inf)
    slope_R = np.pad(change_R / np.maximum(gap_R, shortest), 1)
    beside_R = np.maximum(slope_R[:-2], slope_R[2:])
    return (change_R > JUMP * lr_R.max()) & (slope_R[1:-1] > 10 * beside_R)


def _area_before(step: float, lr: float, warmup_area: float | None) -> float:
    if warmup_area is None:
        return lr * step / 2
    if warmup_area < 0:
        raise ValueError(f"warmup_area: {warmup_area} is negative; it is the area under the warm-up, rate × steps / 2")
    warmup_steps = 2 * warmup_area / lr if lr > 0 else np.inf
    return warmup_area + max(step - warmup_steps, 0.0) * lr


def _linear_warmup(step: float, lr: float, area: float, warmup_area: float | None, parts: int = 16) -> np.ndarray:
    """The rise from 0 to ``lr`` before the first row as negative drops, with the columns of `lr_path`'s."""
    ramp = area if warmup_area is None else min(warmup_area, area)
    steps = 2 * ramp / lr if lr > 0 else 0.0
    start = step - steps - (area - ramp) / lr if lr > 0 else step
    part = np.arange(parts)
    middle, square = (part + 0.5) / parts, (3 * part * (part + 1) + 1) / (3 * parts**2)
    return np.column_stack([np.full(parts, -lr / parts), lr * middle, ramp * square, start + steps * middle])


def _end_of_rise(lr_R: np.ndarray) -> int:
    rising = np.diff(lr_R) > 0
    return int(np.argmin(rising)) if rising.size and not rising.all() else len(rising) if rising.size else 0


def _merged(drops: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` rows: neighbours become one drop, of their sum, at their mean weighted by size."""
    if len(drops) <= most:
        return drops
    edges = np.unique(np.linspace(0, len(drops), most + 1).astype(int))[:-1]
    size_D = np.abs(drops[:, :1])
    means = np.add.reduceat(drops[:, 1:] * size_D, edges) / np.add.reduceat(size_D, edges)
    return np.column_stack([np.add.reduceat(drops[:, 0], edges), means])
