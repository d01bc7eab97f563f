"""Claims about averages of weights along training (LAWA, arXiv 2306.03241): faster, spikes mitigated, compute saved."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from trajlab.analysis.averaging_gain import gain, spike_mitigation, tokens_saved
from trajlab.analysis.claims.claim import Claim, mean_interval, not_testable, one_sided
from trajlab.analysis.claims.claim_set import ClaimSet
from trajlab.analysis.load import Runs, without_seed

SETTLED = 0.1
"""Share of a run after which gains count: before it an average that lags says nothing about averaging."""


def table(runs: Runs) -> pd.DataFrame:
    """Three claims and the gain behind them for each condition and variant, on the first split."""
    if runs.intervals.empty or (runs.intervals["variant"] == "raw").all():
        return pd.DataFrame(columns=list(Claim("", "", "").row()))
    frame = runs.intervals
    frame = frame[frame["split"] == ("valid" if "valid" in set(frame["split"]) else frame["split"].iloc[0])]
    settings = frame["run"].map(without_seed)
    found = []
    for setting, own in frame.groupby(settings):
        words = f"{setting}: " if len(settings.unique()) > 1 and setting else ""
        for variant in [v for v in own["variant"].unique() if v != "raw"]:
            found += [c.row() for c in averaging_claims(own, str(variant), words)]
    return pd.DataFrame(found)


def averaging_claims(frame: pd.DataFrame, variant: str, prefix: str = "") -> Iterator[Claim]:
    """Each quantity is 0 where the average does nothing; intervals hold the spread over runs."""
    pair = frame[frame["variant"].isin(["raw", variant])]
    gains = gain(pair)
    settled = gains[gains["progress"] > SETTLED].groupby("run")["gain"].mean()
    yield _over_runs(f"{prefix}{variant} has the lower loss: mean gain after the first tenth, nats", settled)
    saved = tokens_saved(pair, variant)
    saved = saved.assign(share=saved["tokens_saved"] / pair["tokens"].max())
    for at, words in (
        (0.5, "is faster: tokens saved to the loss of half the run"),
        (1.0, "saves compute: tokens saved to the last loss"),
    ):
        yield _over_runs(f"{prefix}{variant} {words}, share of the budget", _shares(saved, at))
    yield _over_runs(
        f"{prefix}{variant} mitigates spikes: rise less than raw's, beyond raw's at the average's own spikes, nats",
        mitigated(pair, variant),
        "no interval spike",
    )


def _shares(saved: pd.DataFrame, at: float) -> pd.Series:
    own = saved[(saved["target_at"] == at) & (saved["reached"] == "both")]
    return own.set_index("run")["share"]


def mitigated(pair: pd.DataFrame, variant: str) -> pd.Series:
    """By run: Σ (raw's rise − the average's) at raw's spikes, less the same with the two exchanged.

    Spikes are chosen where raw is high by chance, so the average would look calmer without any effect; exchanged, it looks as
    much more restless. The sum is 0 on average where the two could be exchanged.
    """
    there = spike_mitigation(pair, variant)
    swapped = pair.assign(variant=pair["variant"].map({"raw": variant, variant: "raw"}))
    back = spike_mitigation(swapped, variant)
    if there.empty and back.empty:
        return pd.Series(dtype=float)
    total = pd.Series(0.0, index=pair["run"].unique())
    for rows, sign in ((there, 1.0), (back, -1.0)):
        if len(rows):
            less = (rows["rise_baseline"] - rows["rise_variant"]).groupby(rows["run"]).sum()
            total = total.add(sign * less, fill_value=0.0)
    return total


def _over_runs(claim: str, values: pd.Series, missing: str = "no run reaches it") -> Claim:
    values_S = values.dropna().to_numpy(float)
    if len(values_S) < 3:
        have = f"{len(values_S)} run{'s' if len(values_S) != 1 else ''}" if len(values_S) else missing
        return not_testable(claim, "over 0", f"{have}; a spread over seeds needs three")
    return one_sided(
        claim,
        "over 0",
        float(np.mean(values_S)),
        mean_interval(values_S),
        0.0,
        margin="over 0",
        holds=f"{len(values_S)} seeds",
        check="paired over seeds",
    )


CLAIMS = ClaimSet(
    study="averaging",
    source="Early averaging (arXiv 2306.03241)",
    table=table,
    reading="Every quantity is 0 where an average does nothing; the validation text is the same in all runs and not in the "
    "interval. A saving is a saving of the run at its own learning rate, not against a run annealed to zero.",
)
