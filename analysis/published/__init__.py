"""Readers of other people's files: csv of published results, JSON of lm-evaluation-harness, runs under many schedules."""

from trajlab.analysis.published.lm_eval import read_lm_eval
from trajlab.analysis.published.model_names import parameters_of
from trajlab.analysis.published.results import read_published
from trajlab.analysis.published.schedule_runs import is_schedule_runs, read_schedule_runs

__all__ = ["is_schedule_runs", "parameters_of", "read_lm_eval", "read_published", "read_schedule_runs"]
