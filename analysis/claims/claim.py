"""One published claim, and how it is judged (docs/methods.md §6).

A claim says that a quantity lies in a *region*: within a margin of a published value, or on one side of a bound. The verdict
is read from the quantity's interval alone: the whole interval inside the region, wholly outside it, or neither.
"""

from dataclasses import dataclass

import numpy as np

from trajlab.analysis.claims.error_rates import MEASURED
from trajlab.analysis.statistics.intervals import t_interval

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = "supported", "contradicted", "undecided", "not testable"
LEVEL = 0.95
Z = 1.959963984540054
"""Half width of a 95 % interval in standard errors, of a normal distribution."""


@dataclass(frozen=True)
class Claim:
    """What was published and what was observed; ``verdict`` follows from the interval and the region."""

    claim: str
    published: float | str
    observed: float | str
    ci_low: float = np.nan
    ci_high: float = np.nan
    region: tuple[float, float] | None = None
    """Where the quantity lies if the claim is right; None where it can't be tried."""
    margin: str = ""
    """The region in words, with the reason for its width."""
    holds: str = ""
    """What the interval holds: seeds, text, models, … ; what is not named here could still move the result."""
    check: str | None = None
    """The row of docs/statistics.md that says how often this kind of verdict is wrong; None where it was not measured."""
    reason: str = ""
    """Why it can't be tried, or what else a reader has to know."""
    published_se: float = 0.0
    """Standard error of the published value where it is known; widens the interval."""
    decided: str | None = None
    """The verdict of a test whose result is no interval."""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, widened by what is uncertain about the published value."""
        if not self.published_se or isinstance(self.observed, str):
            return self.ci_low, self.ci_high
        low, high = (np.hypot(side - self.observed, Z * self.published_se) for side in (self.ci_low, self.ci_high))
        return float(self.observed - low), float(self.observed + high)

    @property
    def verdict(self) -> str:
        """``supported``: the whole interval lies in the region; ``contradicted``: none of it; ``undecided``.

        ``not testable`` without a region or an interval. No distance, however small, takes the place of an interval.
        """
        if self.decided is not None:
            return self.decided
        low, high = self.interval
        if self.region is None or not (np.isfinite(low) and np.isfinite(high)):
            return NOT_TESTABLE
        return placed(low, high, self.region)

    @property
    def error_rate(self) -> float:
        """How often this kind of verdict was wrong under the worst of its nulls; nan where nothing was decided or measured."""
        return MEASURED.get(self.check or "", np.nan) if self.verdict in (SUPPORTED, CONTRADICTED) else np.nan

    def row(self) -> dict[str, object]:
        """The claim as a row of the table."""
        low, high = self.interval
        return {
            "claim": self.claim,
            "published": self.published,
            "observed": self.observed,
            "ci_low": low,
            "ci_high": high,
            "margin": self.margin,
            "holds": self.holds,
            "error_rate": self.error_rate,
            "verdict": self.verdict,
            "reason": self.reason,
        }


def placed(low: float, high: float, region: tuple[float, float]) -> str:
    """Where an interval lies against a region.

    With a 95 % interval a value outside the region is called supported in at most 2.5 % of data sets, and one inside it
    contradicted in at most 2.5 %: two one-sided tests (Schuirmann 1987, doi:10.1007/BF01068419).

    >>> placed(-0.1, 0.2, (-0.3, 0.3)), placed(0.4, 0.5, (-0.3, 0.3)), placed(-11.8, 19.9, (-0.3, 0.3))
    ('supported', 'contradicted', 'undecided')
    """
    if region[0] < low and high < region[1]:
        return SUPPORTED
    return CONTRADICTED if high < region[0] or low > region[1] else UNDECIDED


def mean_claim(
    claim: str, published: float, values_S: np.ndarray, margin: float, why: str, *, published_se: float = 0.0
) -> Claim:
    """A published mean against the mean over seeds, equal within ``margin``; not testable with one seed."""
    low, high = mean_interval(values_S)
    return Claim(
        claim,
        published,
        float(values_S.mean()),
        low,
        high,
        (published - margin, published + margin),
        f"±{margin:g}: {why}",
        "seeds",
        "equal mean",
        "" if len(values_S) > 1 else "one seed: its spread is unknown",
        published_se,
    )


def mean_interval(values_S: np.ndarray) -> tuple[float, float]:
    """95 % t interval of a mean; (nan, nan) for one value."""
    n = len(values_S)
    if n < 2:
        return np.nan, np.nan
    low, high = t_interval(float(values_S.mean()), float(values_S.std(ddof=1)) / n**0.5, n, LEVEL)
    return float(low), float(high)


def one_sided(
    claim: str,
    published: float | str,
    observed: float,
    interval: tuple[float, float],
    bound: float,
    *,
    above: bool = True,
    margin: str = "",
    holds: str,
    check: str,
    reason: str = "",
) -> Claim:
    """A claim that a quantity lies above (or below) ``bound``."""
    region = (bound, np.inf) if above else (-np.inf, bound)
    return Claim(claim, published, observed, *interval, region, margin, holds, check, reason)


def design(claim: str, published: float, observed: float | None, rounding: float = 0.0) -> Claim:
    """A fact about how a study was set up: equal up to the ``rounding`` of the published number, or another design.

    Nothing about it is random. A run of another design contradicts nothing: it was chosen.
    """
    same = observed is not None and abs(observed - published) <= rounding
    reason = "" if same else "not known" if observed is None else "another design: chosen, not found"
    margin = f"±{rounding:g}: rounding of the published number" if rounding else "exact"
    decided = SUPPORTED if same else NOT_TESTABLE
    shown = np.nan if observed is None else observed
    return Claim(
        claim, published, shown, margin=margin, holds="nothing random", check="design", reason=reason, decided=decided
    )


def not_testable(claim: str, published: float | str, reason: str) -> Claim:
    """A claim for which the runs lack the evidence; ``reason`` says what is missing."""
    return Claim(claim, published, "–", reason=reason)
