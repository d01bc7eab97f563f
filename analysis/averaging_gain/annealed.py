"""The fair comparison: runs whose learning rate was annealed to zero at the same tokens."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from trajlab.analysis.manifests import Manifest

CONTROL = ("data", "architecture", "batch", "order")
"""What a control shares with the run that it is a control of, beside seed and rate: columns of `run_setups`."""


def run_setups(manifests: Sequence[Manifest]) -> pd.DataFrame:
    """A row per run: fingerprint of the ``data``, ``architecture``, tokens in a ``batch``, what decides the ``order``.

    Each as a word to compare by; nothing of it is read otherwise. From the stored configuration.
    """
    rows = []
    for m in manifests:
        config, data = m.get("config") or {}, (m.get("config") or {}).get("data") or {}
        seed = (config.get("seeds") or {}).get("order")
        order = [
            m.get("seed") if seed is None else seed,
            data.get("window_offset"),
            data.get("sample_seed"),
        ]
        rows.append(
            {
                "experiment": m["experiment"],
                "run": m["run"],
                "data": str((m.get("data") or {}).get("fingerprint")),
                "architecture": json.dumps(config.get("model"), sort_keys=True, default=str),
                "batch": (data.get("windows_per_step") or 0) * (data.get("context") or 0),
                "order": json.dumps(order, default=str),
            }
        )
    return pd.DataFrame(rows, columns=["experiment", "run", *CONTROL])


def against_annealed(intervals: pd.DataFrame, annealed: pd.DataFrame, match: Sequence[str] = ("seed",)) -> pd.DataFrame:
    """A row per annealed run × split × variant of the long run with the same ``match`` columns at the same tokens.

    ``behind`` = the variant's loss − the annealed run's last: positive where averaging is no substitute for annealing.
    Of the columns `CONTROL` those that both frames have must agree too: a run on another corpus, of another model, batch or
    order of the windows is no control. The long run is read between intervals on a straight line; annealed runs beyond its end have no row.
    """
    shared = [c for c in CONTROL if c in intervals and c in annealed]
    keys = [*dict.fromkeys([*match, "split", *shared])]
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
                        **{k: end[k] for k in keys if k not in shared},
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
