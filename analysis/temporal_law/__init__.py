"""The temporal scaling law: how the position law moves along training, and what that says of the rest of a run."""

from trajlab.analysis.temporal_law.law import (
    Forecast,
    Projection,
    TemporalLaw,
    ThinEvidence,
    fit_temporal_law,
    forecast,
    project,
)

__all__ = ["Forecast", "Projection", "TemporalLaw", "ThinEvidence", "fit_temporal_law", "forecast", "project"]
