"""Analysis of stored trajectories: pandas, SciPy and matplotlib; never torch."""

from trajlab.analysis.forecasting.default import forecast
from trajlab.analysis.load import Runs, load_runs

__all__ = ["Runs", "forecast", "load_runs"]
