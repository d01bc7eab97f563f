"""The gain against the length of the averaging window, and the learning rates of the runs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trajlab.analysis.averaging_gain.curves import RUN
from trajlab.analysis.manifests import Manifest, averagers


def averager_windows(manifests: Sequence[Manifest]) -> pd.DataFrame:
    """A row per run × averager: how long its window is, in tokens and as a share of the budget.

    A LAWA's or merge's window is k snapshots; an EMA's is 1/(1 − decay) of its updates. SWA, whose window grows, has none
    (nan). From the manifest's key `averagers`, as `trajlab.analysis.manifests` reads it.
    """
    rows = []
    for manifest in manifests:
        budget = ((manifest.get("config") or {}).get("intervals") or {}).get("budget_tokens") or np.nan
        for entry in averagers(manifest):
            window = np.nan if entry["window_tokens"] is None else float(entry["window_tokens"])
            identity = {"experiment": manifest["experiment"], "run": manifest["run"]}
            own = {"variant": entry["name"], "kind": entry["kind"], "window_tokens": window}
            rows.append({**identity, **own, "window_share": window / budget})
    columns = ["experiment", "run", "variant", "kind", "window_tokens", "window_share"]
    return pd.DataFrame(rows, columns=columns)


def window_curve(gains: pd.DataFrame, windows: pd.DataFrame, parts: int = 4) -> pd.DataFrame:
    """A row per run × split × variant × part of the run: mean gain in that part, against the window's share.

    ``gains`` from `gain`, ``windows`` from `averager_windows`; ``until`` is the part's end as a share of the run.
    """
    frame = gains.merge(windows, on=["experiment", "run", "variant"])
    frame["until"] = np.ceil(frame["progress"] * parts).clip(lower=1) / parts
    keys = [*RUN, "variant", "kind", "window_tokens", "window_share", "until"]
    return frame.groupby(keys, dropna=False, as_index=False)["gain"].mean()


def learning_rates(manifests: Sequence[Manifest]) -> pd.DataFrame:
    """A row per run: its ``peak_lr`` and the ``final_ratio`` its schedule ends at (1 for a constant rate)."""
    rows = []
    for m in manifests:
        config = m["config"]
        ratio = config["schedule"].get("final_ratio", 1.0)
        rows.append(
            {
                "experiment": m["experiment"],
                "run": m["run"],
                "peak_lr": config["optimizer"].get("lr"),
                "final_ratio": ratio,
            }
        )
    return pd.DataFrame(rows, columns=["experiment", "run", "peak_lr", "final_ratio"])
