"""One published claim, and how it is judged."""

from dataclasses import dataclass

import numpy as np

from trajlab.analysis.statistics.intervals import t_interval

AGREES, CLOSE = 0.01, 0.05
"""Relative distances up to which a number agrees, or is close, whatever its interval."""


@dataclass(frozen=True)
class Claim:
    """What was published and what was observed; ``verdict`` follows from the two."""

    claim: str
    published: float | str
    observed: float | str
    ci_low: float = np.nan
    ci_high: float = np.nan
    holds: bool | None = None
    """For claims without a number: whether it holds, None where the runs can't say."""

    @property
    def verdict(self) -> str:
        """What became of the claim.

        "agrees": published inside the interval, or within 1 %; "close": within 5 %; "differs". Without a number "holds" or
        "doesn't hold". "not testable" where the runs can't say.
        """
        if isinstance(self.published, str) or self.holds is not None:
            return {True: "holds", False: "doesn't hold", None: "not testable"}[self.holds]
        if isinstance(self.observed, str) or not np.isfinite(self.observed):
            return "not testable"
        distance = abs(self.observed - self.published) / abs(self.published)
        if distance <= AGREES or self.ci_low <= self.published <= self.ci_high:
            return "agrees"
        return "close" if distance <= CLOSE else "differs"

    def row(self) -> dict[str, object]:
        """The claim as a row of the table."""
        return {
            "claim": self.claim,
            "published": self.published,
            "observed": self.observed,
            "ci_low": self.ci_low,
            "ci_high": self.ci_high,
            "verdict": self.verdict,
        }


def mean_claim(claim: str, published: float, values_S: np.ndarray) -> Claim:
    """A published mean against the mean over seeds, with its t interval; no interval for one seed."""
    mean, n = float(values_S.mean()), len(values_S)
    if n < 2:
        return Claim(claim, published, mean)
    low, high = t_interval(mean, float(values_S.std(ddof=1)) / n**0.5, n)
    return Claim(claim, published, mean, float(low), float(high))
