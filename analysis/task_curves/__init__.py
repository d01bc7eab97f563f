"""How task accuracy follows scale and perplexity (docs/methods.md §5; Xia et al. 2023, arXiv 2212.09803).

`linearity` and `breakthroughness` measure the shape of one curve, `task_shapes` of every task. `predictors` asks what
predicts accuracy: perplexity, FLOPs, tokens or size; `matched_accuracy` compares sizes at equal perplexity. Frames come
from `runs_frame` (a run store) or `predictor_frame` (a long table of results, as `trajlab.analysis.published` reads them).
"""

from trajlab.analysis.task_curves.frames import (
    ACCURACIES,
    ZERO_SHOT,
    mean_over_tasks,
    predictor_frame,
    runs_frame,
)
from trajlab.analysis.task_curves.prediction import matched_accuracy, predictors
from trajlab.analysis.task_curves.shapes import breakthroughness, improvement, linearity, task_shapes

__all__ = [
    "ACCURACIES",
    "ZERO_SHOT",
    "breakthroughness",
    "improvement",
    "linearity",
    "matched_accuracy",
    "mean_over_tasks",
    "predictor_frame",
    "predictors",
    "runs_frame",
    "task_shapes",
]
