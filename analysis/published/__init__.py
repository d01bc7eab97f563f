"""Readers of other people's files: csv of published results, JSON of lm-evaluation-harness."""

from trajlab.analysis.published.lm_eval import read_lm_eval
from trajlab.analysis.published.model_names import parameters_of
from trajlab.analysis.published.results import read_published

__all__ = ["parameters_of", "read_lm_eval", "read_published"]
