"""Forecasts of a run: fit laws on its first part, score them on strictly later points.

- `default`      the forecast to use: `forecast`, `outlook`; its parts `response`, `gaussian`, `archive`, `calibration`
- `tournament`   every law on curve files, scored and ranked; `rebuild` gives the default's numbers, `command` the commands
- `registered`   forecasts that can't be rewritten, and their scores
- `decisions`    what a forecast is for: is the target reached, what do the remaining tokens buy
- `contest`      the split, the table of scores: `Forecast`, `forecast_curve`, `forecast_table`
- `baselines`    each law's projection of the mean loss: `project_curve`
- `projection`   what a projection is, when it is refused, how wide its band is

The temporal law's forecasts (`trajlab.analysis.temporal_law`) are made of the same parts.
"""

from trajlab.analysis.forecasting.baselines import MeanLoss, baselines, project_curve
from trajlab.analysis.forecasting.contest import FRACTIONS, Forecast, Split, forecast_curve, forecast_table
from trajlab.analysis.forecasting.projection import Projection

__all__ = [
    "FRACTIONS",
    "Forecast",
    "MeanLoss",
    "Projection",
    "Split",
    "baselines",
    "forecast_curve",
    "forecast_table",
    "project_curve",
]
