"""Analysis of stored trajectories: pandas, SciPy and matplotlib; never torch."""

from trajlab.analysis.load import Runs, load_runs

__all__ = ["Runs", "load_runs"]
