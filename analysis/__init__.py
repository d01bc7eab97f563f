"""Analysis of stored trajectories: pandas, SciPy and matplotlib; never torch.

>>> from trajlab import analysis
>>> [name for name in dir(analysis) if not name.startswith("_")]
['Runs', 'best_interval', 'between_seeds', 'compare_tests', 'forecast', 'load_runs', 'planned_contrasts', 'plot', 'returns', 'rm_anova', 'time_to_target', 'write_report']

Each is imported when it is first used, so that reading a table doesn't wait for SciPy and matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trajlab.analysis.contrasts import planned_contrasts
    from trajlab.analysis.diminishing_returns import best_interval, returns
    from trajlab.analysis.forecasting.default import forecast
    from trajlab.analysis.load import Runs, load_runs
    from trajlab.analysis.plots import plot
    from trajlab.analysis.repeated_measures import compare_tests, rm_anova
    from trajlab.analysis.report import write_report
    from trajlab.analysis.stability import between_seeds
    from trajlab.analysis.target_times import time_to_target

__all__ = [
    "Runs",
    "best_interval",
    "between_seeds",
    "compare_tests",
    "forecast",
    "load_runs",
    "planned_contrasts",
    "plot",
    "returns",
    "rm_anova",
    "time_to_target",
    "write_report",
]

_HOMES = {
    "Runs": "load",
    "best_interval": "diminishing_returns",
    "between_seeds": "stability",
    "compare_tests": "repeated_measures",
    "forecast": "forecasting.default",
    "load_runs": "load",
    "planned_contrasts": "contrasts",
    "plot": "plots",
    "returns": "diminishing_returns",
    "rm_anova": "repeated_measures",
    "time_to_target": "target_times",
    "write_report": "report",
}
"""The module of each name."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"trajlab.analysis has no {name}; it has {', '.join(__all__)} and its modules")
    return getattr(import_module(f"trajlab.analysis.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
