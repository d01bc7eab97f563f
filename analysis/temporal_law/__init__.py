"""The temporal scaling law: how the position law moves along training, and what that says of the rest of a run.

- `fit_temporal_law`   position laws at K checkpoints → `TemporalLaw`
- `project`            losses so far → each law's loss at later tokens, with a band, or why it is refused
- `forecast`           `project` on the first part of a run, scored on the rest
"""

from trajlab.analysis.forecasting import Forecast, Projection
from trajlab.analysis.temporal_law.evidence import ThinEvidence
from trajlab.analysis.temporal_law.fit import fit_temporal_law
from trajlab.analysis.temporal_law.law import TemporalLaw
from trajlab.analysis.temporal_law.projection import forecast, project

__all__ = ["Forecast", "Projection", "TemporalLaw", "ThinEvidence", "fit_temporal_law", "forecast", "project"]
