"""Published results as csv."""

from pathlib import Path

import pandas as pd

from trajlab.analysis.published.model_names import parameters_of


def read_published(path: Path | str) -> pd.DataFrame:
    """A csv of published results with the names used here.

    ``valid_ppl`` becomes ppl, ``acc_pct`` accuracy in 0 to 1, ``params`` parameters, ``step_est`` and ``tokens_est`` step
    and tokens; parameters are read off the model's name where no column tells them.
    """
    frame = pd.read_csv(path).rename(
        columns={"valid_ppl": "ppl", "params": "parameters", "step_est": "step", "tokens_est": "tokens"}
    )
    if "acc_pct" in frame:
        frame["accuracy"] = frame.pop("acc_pct") / 100
    if "parameters" not in frame and "model" in frame:
        frame["parameters"] = frame["model"].map({m: parameters_of(m) for m in frame["model"].unique()})
    return frame
