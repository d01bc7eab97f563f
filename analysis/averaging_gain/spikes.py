"""How much of a spike of the raw weights is left in an average."""

import numpy as np
import pandas as pd

from trajlab.analysis.averaging_gain.curves import curve_pairs
from trajlab.analysis.stability import stability


def spike_mitigation(
    intervals: pd.DataFrame, variant: str, baseline: str = "raw", window: int = 3, history: int = 5
) -> pd.DataFrame:
    """A row per run × split × interval spike (`stability`) of the baseline: how much of its rise the variant has.

    The rise is the highest loss from the spike to ``window`` intervals later, minus the loss at the interval before
    it **(ours)**; ``ratio`` = the variant's rise ÷ the baseline's: 1 nothing is mitigated, 0 or less the variant doesn't
    rise. Spikes within a window of an earlier one belong to that one. No rows where nothing spikes.
    """
    rows = []
    for keys, raw, average in curve_pairs(intervals, variant, baseline):
        both = raw[["interval", "tokens", "loss"]].merge(
            average[["interval", "loss"]], on="interval", suffixes=("", "_variant")
        )
        spiking = stability(raw, spike_history=history).set_index("interval")["spike"]
        rising = both["loss"].diff() > 0  # a curve that only slows down has nothing to mitigate
        last = -window - 1
        for t in map(int, np.flatnonzero(both["interval"].map(spiking).to_numpy(bool) & rising)):
            if t - last <= window:
                continue
            last = t
            around = both.iloc[t - 1 : t + window + 1]
            rise, ours = (float(around[c].iloc[1:].max() - around[c].iloc[0]) for c in ("loss", "loss_variant"))
            rows.append(
                {
                    **keys,
                    "variant": variant,
                    "interval": both["interval"][t],
                    "tokens": both["tokens"][t],
                    "rise_baseline": rise,
                    "rise_variant": ours,
                    "ratio": ours / rise,
                }
            )
    return pd.DataFrame(rows)
