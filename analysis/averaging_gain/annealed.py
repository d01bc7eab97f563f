"""The fair comparison: runs whose learning rate was annealed to zero at the same tokens."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def against_annealed(intervals: pd.DataFrame, annealed: pd.DataFrame, match: Sequence[str] = ("seed",)) -> pd.DataFrame:
    """A row per annealed run × split × variant of the long run with the same ``match`` columns at the same tokens.

    ``behind`` = the variant's loss − the annealed run's last: positive where averaging is no substitute for annealing.
    The long run is read between intervals on a straight line; annealed runs beyond its end have no row.
    """
    keys = [*match, "split"]
    ends = (
        annealed[annealed["variant"] == "raw"]
        .sort_values("tokens")
        .groupby(["experiment", "run", *keys], dropna=False)
        .tail(1)
    )
    curves = {k: c.sort_values("tokens") for k, c in intervals.groupby([*keys, "variant"])}
    rows = []
    for _, end in ends.iterrows():
        for (*at, variant), curve in curves.items():
            here = tuple(at) == tuple(end[k] for k in keys)
            if here and curve["tokens"].iloc[0] <= end["tokens"] <= curve["tokens"].iloc[-1]:
                loss = float(np.interp(end["tokens"], curve["tokens"], curve["loss"]))
                rows.append(
                    {
                        **{k: end[k] for k in keys},
                        "budget": _budget(end["tokens"], curve),
                        "tokens": end["tokens"],
                        "variant": variant,
                        "annealed_loss": end["loss"],
                        "loss": loss,
                        "behind": loss - end["loss"],
                    }
                )
    return pd.DataFrame(rows)


def _budget(tokens: float, curve: pd.DataFrame) -> float:
    """The share of the long run, to a percent."""
    return round(tokens / curve["tokens"].iloc[-1], 2)
