"""Final losses by position weighting, and each weighting against none, paired over seeds (docs/methods.md §3)."""

from collections.abc import Sequence

import pandas as pd

from trajlab.analysis.contrasts import planned_contrasts
from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import Manifest, Weighting, position_weighting

NONE = "none"


def final_losses(runs: Runs) -> pd.DataFrame:
    """A row per finished run, split and measure: experiment, weighting, seed, split, measure, loss.

    The measures are the loss over the whole context and over the positions of each weighting that the experiment holds.
    """
    rows = []
    weighted = [(m, w) for m in runs.manifests if m.get("status") == "finished" and (w := position_weighting(m))]
    for manifest, weighting in sorted(weighted, key=lambda pair: pair[1].first or 0):
        own = runs.select(experiment=manifest["experiment"], run=manifest["run"], variant="raw")
        if own.positions.empty:
            continue
        identity = {"experiment": manifest["experiment"], "weighting": weighting.weighting, "seed": manifest["seed"]}
        spans = _spans(weighted, manifest["experiment"])
        last = own.positions[own.positions["tokens"] == own.positions["tokens"].max()]
        for split, at in last.groupby("split"):
            rows += [{**identity, "split": split, "measure": m, "loss": v} for m, v in _by_part(at, spans).items()]
    return pd.DataFrame(rows)


def _spans(weighted: Sequence[tuple[Manifest, Weighting]], experiment: str) -> dict[str, tuple[int, int]]:
    """First and last position of each weighting of the experiment, in the order of the context."""
    own = {w for m, w in weighted if m["experiment"] == experiment}
    placed = [(w.first, w.last, w.weighting) for w in own if w.first is not None and w.last is not None]
    return {name: (first, last) for first, last, name in sorted(placed)}


def _by_part(at: pd.DataFrame, spans: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Mean loss of the whole context and of its parts that have tokens."""
    parts = {name: at[at["position"].between(*span)] for name, span in spans.items()}
    sums = {name: part[["nll_sum", "count"]].sum() for name, part in {"whole": at, **parts}.items()}
    return {name: float(s["nll_sum"] / s["count"]) for name, s in sums.items() if s["count"]}


def weighting_contrasts(frame: pd.DataFrame) -> pd.DataFrame:
    """Every weighting against none by split and measure: difference, CI, t, p, Holm, Hedges g_av with CI, seeds.

    Only seeds that every weighting has are compared; nothing comes out under two of them.
    """
    tables = []
    for (split, measure), own in frame.groupby(["split", "measure"], sort=False):
        complete = own.groupby("seed")["weighting"].transform("nunique") == own["weighting"].nunique()
        own = own[complete]
        others = [w for w in own["weighting"].unique() if w != NONE]
        if own["seed"].nunique() < 2 or NONE not in set(own["weighting"]) or not others:
            continue
        table = planned_contrasts(own, "loss", "weighting", "seed", [(NONE, w) for w in others])
        table = table.assign(seeds=own["seed"].nunique()).rename(columns={"b": "weighting"})
        tables.append(table.assign(split=split, measure=measure))
    columns = [
        "split",
        "measure",
        "weighting",
        "difference",
        "ci_low",
        "ci_high",
        "t",
        "p",
        "p_holm",
        "g_av",
        "g_low",
        "g_high",
        "p_sign_flip",
        "seeds",
    ]
    found = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    return found[[c for c in columns if c in found]]
