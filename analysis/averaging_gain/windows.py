"""The gain against the length of the averaging window, and the learning rates of the runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from trajlab.analysis.averaging_gain.curves import RUN


def averager_windows(manifests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per run × averager of its configuration: how long its window is, in tokens and as a share of the budget.

    A LAWA's or merge's window is k snapshots; an EMA's is 1/(1 − decay) of its updates. SWA, whose window grows, has none.
    """
    rows = []
    for manifest in manifests:
        config = manifest["config"]
        per_step = config["data"]["windows_per_step"] * config["data"]["context"]
        for node in _averagers(config):
            kind = node["_target_"].rsplit(".", 1)[-1]
            every = node.get("every_tokens") or (node.get("every_steps") or 1) * per_step
            length = {"ema": 1 / (1 - node.get("decay", 0.999)), "swa": np.nan}.get(kind, node.get("k", 5))
            rows.append(
                {
                    "experiment": manifest["experiment"],
                    "run": manifest["run"],
                    "variant": _variant(kind, node),
                    "kind": kind,
                    "window_tokens": length * every,
                    "window_share": length * every / config["intervals"]["budget_tokens"],
                }
            )
    columns = ["experiment", "run", "variant", "kind", "window_tokens", "window_share"]
    return pd.DataFrame(rows, columns=columns)


def _averagers(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nodes = [c["averagers"] for c in config["callbacks"].values() if c and "averagers" in c]
    return [a for node in nodes for a in (node.values() if isinstance(node, Mapping) else node) if a]


def _variant(kind: str, node: Mapping[str, Any]) -> str:
    names = {
        "lawa": f"lawa{node.get('k', 5)}",
        "ema": f"ema{node.get('decay', 0.999):g}",
        "swa": "swa",
        "merge": f"merge{node.get('k', 5)}_{node.get('decay', 'linear')}",
    }
    return str(node.get("name") or names.get(kind, kind))


def window_curve(gains: pd.DataFrame, windows: pd.DataFrame, parts: int = 4) -> pd.DataFrame:
    """A row per run × split × variant × part of the run: mean gain in that part, against the window's share.

    ``gains`` from `gain`, ``windows`` from `averager_windows`; ``until`` is the part's end as a share of the run.
    """
    frame = gains.merge(windows, on=["experiment", "run", "variant"])
    frame["until"] = np.ceil(frame["progress"] * parts).clip(lower=1) / parts
    keys = [*RUN, "variant", "kind", "window_tokens", "window_share", "until"]
    return frame.groupby(keys, dropna=False, as_index=False)["gain"].mean()


def learning_rates(manifests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
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
