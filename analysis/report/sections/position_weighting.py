"""Position weighting: does training less on some positions help? Paired over seeds."""

import pandas as pd

from trajlab.analysis.contrasts import planned_contrasts
from trajlab.analysis.load import Runs
from trajlab.analysis.report import Section

ORDER = 50
NONE = "none"
PARTS = {"head": (0.0, 0.1), "body": (0.1, 0.9), "tail": (0.9, 1.0)}
"""Shares of the context, as in training."""


def section(runs: Runs) -> Section | None:
    """Final losses by weighting, and each weighting against none, for experiments that swept it."""
    frame = final_losses(runs)
    if frame.empty:
        return None
    swept = [(e, f) for e, f in frame.groupby("experiment") if len(f["weighting"].unique()) > 1]
    if not swept:
        return None
    part = Section("Position weighting")
    for experiment, own in swept:
        part.table(
            own.groupby(["split", "weighting", "measure"], sort=False)["loss"]
            .agg(["mean", "std", "count"])
            .reset_index(),
            f"{experiment}: final loss (nats per token) over the whole context and over its parts.",
        )
        part.table(
            weighting_contrasts(own),
            f"{experiment}: each weighting minus none, paired over seeds; Holm within a split and measure. A negative "
            "difference is a gain. Published (arXiv 2404.17785): no clear advantage.",
        )
    return part


def final_losses(runs: Runs) -> pd.DataFrame:
    """A row per run, split and measure (whole, head, body, tail): experiment, weighting, seed, split, measure, loss."""
    rows = []
    for manifest in runs.manifests:
        loss = manifest.get("config", {}).get("loss", {})
        if "position_weighting" not in loss or manifest.get("status") != "finished":
            continue
        own = runs.select(experiment=manifest["experiment"], run=manifest["run"], variant="raw")
        identity = {
            "experiment": manifest["experiment"],
            "weighting": loss["position_weighting"],
            "seed": manifest["seed"],
        }
        if own.positions.empty:
            continue
        last = own.positions[own.positions["tokens"] == own.positions["tokens"].max()]
        for split, at in last.groupby("split"):
            rows += [{**identity, "split": split, "measure": m, "loss": v} for m, v in _by_part(at).items()]
    return pd.DataFrame(rows)


def _by_part(at: pd.DataFrame) -> dict[str, float]:
    """Mean loss of the whole context and of its head, body and tail."""
    at = at.sort_values("position")
    nll_P, count_P, length = at["nll_sum"].to_numpy(), at["count"].to_numpy(), len(at)
    spans = {"whole": (0.0, 1.0), **PARTS}
    bounds = {name: slice(round(a * length), round(b * length)) for name, (a, b) in spans.items()}
    return {name: float(nll_P[s].sum() / count_P[s].sum()) for name, s in bounds.items() if count_P[s].sum()}


def weighting_contrasts(frame: pd.DataFrame) -> pd.DataFrame:
    """Every weighting against none by split and measure: difference, CI, t, p, Holm, Hedges g_av with CI, seeds.

    Only seeds that every weighting has are compared; nothing comes out under two of them.
    """
    tables = []
    for (split, measure), own in frame.groupby(["split", "measure"], sort=False):
        complete = own.groupby("seed")["weighting"].transform("nunique") == own["weighting"].nunique()
        own = own[complete]
        others = [w for w in PARTS if w in set(own["weighting"])]
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
