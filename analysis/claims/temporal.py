"""Claims of the temporal scaling law (arXiv 2404.17785): it forecasts better than its baselines; no weighting helps."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from trajlab.analysis.claims.claim import Claim, mean_interval, not_testable, one_sided
from trajlab.analysis.claims.claim_set import ClaimSet
from trajlab.analysis.forecasting import FRACTIONS
from trajlab.analysis.load import Runs
from trajlab.analysis.position_law import position_losses
from trajlab.analysis.position_weighting import final_losses
from trajlab.analysis.temporal_law import forecast

LAW = "temporal"
FEWEST_INTERVALS = 30
"""Checkpoints below which no temporal law is fitted."""
MARGIN = 0.02
"""Nats; 2 % of perplexity **(ours)**: an advantage under it would not be worth a change of the loss."""


def forecast_claims(runs: Runs) -> pd.DataFrame:
    """A row per baseline and fraction: its mean absolute error less the temporal law's, paired over runs."""
    scores = _scores(runs)
    rows = []
    if not scores.empty:
        for (fraction, law), own in scores[scores["law"] != LAW].groupby(["fraction", "law"], sort=False):
            rows.append(_lead(scores, float(fraction), str(law), own).row())
    return pd.DataFrame(rows, columns=list(Claim("", "", "").row()))


def _scores(runs: Runs) -> pd.DataFrame:
    """Errors of every law on every run of the first split that has checkpoints enough."""
    raw = runs.positions
    if raw.empty:
        return raw
    raw = raw[(raw["variant"] == "raw") & (raw["split"] == raw["split"].iloc[0])]
    rates = runs.intervals.groupby(["run", "tokens"])["lr"].first() if "lr" in runs.intervals else None
    tables = []
    for run, rows in raw.groupby("run"):
        losses = position_losses(rows)
        if len(losses.tokens_K) < FEWEST_INTERVALS:
            continue
        lr_K = None if rates is None or run not in rates.index else rates[run].reindex(losses.tokens_K).to_numpy(float)
        if lr_K is not None and not np.isfinite(lr_K[1:]).all():
            lr_K = None
        for fraction in FRACTIONS:
            found = forecast(losses.loss_KP, losses.tokens_K, fraction, lr_K, positions=losses.positions_P)
            tables.append(found.table().assign(run=run))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _lead(scores: pd.DataFrame, fraction: float, law: str, baseline: pd.DataFrame) -> Claim:
    claim = f"the temporal law forecasts better than {law} from {fraction:.0%} of the tokens: lead in mean absolute error, nats"
    own = scores[(scores["law"] == LAW) & (scores["fraction"] == fraction)].set_index("run")["mae"]
    lead_S = (baseline.set_index("run")["mae"] - own).dropna().to_numpy(float)
    if len(lead_S) < 3:
        return not_testable(
            claim,
            "over 0",
            f"{len(lead_S)} run{'s' if len(lead_S) != 1 else ''} where neither was refused; a spread over seeds needs three",
        )
    return one_sided(
        claim,
        "over 0",
        float(lead_S.mean()),
        mean_interval(lead_S),
        0.0,
        margin="over 0",
        holds=f"{len(lead_S)} seeds",
        check="paired over seeds",
    )


def weighting_claims(runs: Runs) -> pd.DataFrame:
    """No advantage of position weighting, as an equivalence: each weighting against none, on the whole context."""
    frame = final_losses(runs)
    columns = list(Claim("", "", "").row())
    if frame.empty:
        return pd.DataFrame(columns=columns)
    return pd.DataFrame([claim.row() for claim in _no_advantage(frame[frame["measure"] == "whole"])], columns=columns)


def _no_advantage(frame: pd.DataFrame) -> Iterator[Claim]:
    for split, own in frame.groupby("split", sort=False):
        wide = own.pivot_table(index="seed", columns="weighting", values="loss")
        if "none" not in wide:
            continue
        for weighting in wide.columns.drop("none"):
            claim = f"no advantage of weighting {weighting} on {split}: final loss less that of none, nats"
            difference_S = (wide[weighting] - wide["none"]).dropna().to_numpy(float)
            if len(difference_S) < 3:
                yield not_testable(claim, 0.0, f"{len(difference_S)} paired seeds; a spread over seeds needs three")
                continue
            yield Claim(
                claim,
                0.0,
                float(difference_S.mean()),
                *mean_interval(difference_S),
                (-MARGIN, MARGIN),
                f"±{MARGIN:g}: nats, 2 % of perplexity (ours)",
                f"{len(difference_S)} seeds",
                "equal mean",
            )


SOURCE = "Temporal scaling law (arXiv 2404.17785)"
CLAIMS = ClaimSet(
    "temporal",
    SOURCE,
    forecast_claims,
    "Over 0 the temporal law is nearer. Runs share their validation text: it is not held.",
)
WEIGHTING = ClaimSet(
    "position_weighting",
    SOURCE,
    weighting_claims,
    "Supported: the whole interval lies within the margin, so there is no advantage and no harm worth naming.",
)
