"""Published curve files in their own columns, as the frame that the contest reads: `as_curves`.

| file | its columns | curve | family |
|---|---|---|---|
| runs under many schedules (arXiv 2501.18965) | run, step, lr, val_loss, layers, width, dataset, … | the run | model and corpus |
| the multi-power law's curves (arXiv 2503.12811) | model_params_m, schedule, step, lr, loss | size and schedule | size |
| OPT's validation perplexity (Xia et al. 2023) | model, tokens_est, valid_ppl | model | model |
| repeats of identical code (modded-nanogpt) | group, run, step, val_loss | group and run | group |
"""

import numpy as np
import pandas as pd

from trajlab.analysis.published.schedule_runs import is_schedule_runs, read_schedule_runs

SYNONYMS = {
    "step": ("_step", "global_step", "iteration", "tokens", "tokens_est"),
    "loss": ("val_loss", "valid_loss", "validation_loss", "eval_loss", "val/loss", "valid/loss", "eval/loss"),
    "lr": ("learning_rate", "lr-AdamW", "lr-Adam", "lr-SGD", "lr-Muon"),
    "curve": ("run", "name", "model"),
}
"""Names that logs give to the columns, the first that is there counts. A training loss is not among them: say it is the loss."""
PERPLEXITY = ("perplexity", "ppl", "valid_ppl", "val_ppl", "eval_ppl")
"""Columns whose logarithm is the loss."""


def as_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of a file with the columns curve, step, loss, and lr, family, run where they can be told.

    Columns that have these names stay as they are. Nothing is guessed from values.
    """
    if is_schedule_runs(frame):
        return read_schedule_runs(frame)
    if "curve" not in frame:
        frame = _named(frame)
    for wanted, names in SYNONYMS.items():
        found = next((name for name in names if name in frame), None)
        if wanted not in frame and found is not None:
            frame = frame.assign(**{wanted: frame[found]})
    ppl = next((name for name in PERPLEXITY if name in frame), None)
    if "loss" not in frame and ppl is not None:
        frame = frame.assign(loss=np.log(frame[ppl].where(frame[ppl] > 0)))
    return frame


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """With curve and family of the files whose curves are told by several columns."""
    if {"model_params_m", "schedule"} <= set(frame):
        size = frame["model_params_m"].astype(str) + "M"
        return frame.assign(curve=size + "-" + frame["schedule"].astype(str), family=size)
    if {"group", "run"} <= set(frame):
        group = frame["group"].astype(str)
        return frame.assign(curve=group + "/" + frame["run"].astype(str), family=frame.get("family", group))
    return frame
