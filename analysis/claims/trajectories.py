"""The claims of the study of checkpoint series, each against what the runs at hand say (Xia et al. 2023, arXiv 2212.09803).

`series_claims` answers for those claims whose tables are there, `table` in the columns of `trajlab.analysis.claims`. The
models at hand are not the published ones: a verdict says whether the same pattern stands here, not whether the published
number was right.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.checkpoint_series import ProbedRun, probed_runs
from trajlab.analysis.claims.claim_set import ClaimSet
from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import parameters_by_run
from trajlab.analysis.task_curves import mean_over_tasks, r_squared, runs_frame
from trajlab.analysis.token_trends import classify_trends

COLUMNS = ["experiment", "claim", "published", "observed", "ci_low", "ci_high", "verdict"]
START = 0.1
CHANCE = 0.025
"""Share of tokens that a two-sided test at 5 % calls upward where there is no trend."""
LITTLE = 0.01
"""A gain in R² that counts as nothing **(ours)**."""


def table(runs: Runs) -> pd.DataFrame:
    """A row per claim whose tables are there; where runs of several experiments are given, each claim names its own."""
    found = series_claims(runs)
    if len(set(found["experiment"])) > 1:
        found["claim"] = found["experiment"] + ": " + found["claim"]
    return found


def series_claims(runs: Runs, n_bootstrap: int = 500, seed: int = 0) -> pd.DataFrame:
    """Claim, published value, observed value with a 95 % interval and a verdict: a row per experiment × claim.

    Intervals are percentiles of ``n_bootstrap`` resamples: of windows for tokens (of tokens where windows are not
    stored), of models for tasks, of sequences for sequences. Verdicts: ``agrees`` and ``disagrees`` where the interval
    lies on one side, ``undecided`` where it does not.
    """
    rng = np.random.default_rng(seed)
    rows = [*_token_claims(runs, n_bootstrap, rng), *_task_claims(runs, n_bootstrap, rng)]
    rows += _sequence_claims(runs, n_bootstrap, rng)
    return pd.DataFrame(rows, columns=COLUMNS)


# ---- tokens


def _token_claims(runs: Runs, n: int, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    probed = [run for run in probed_runs(runs) if len(run.tokens_C) - run.checkpoint(START) >= 3]
    for probe_set in dict.fromkeys(run.probe_set for run in probed):
        own = [run for run in probed if run.probe_set == probe_set]
        small = own[0]
        larger = [run for run in own if run.parameters > small.parameters]
        clusters = _clusters(small)
        trend = classify_trends(small.nll_MC, small.checkpoint(START), test="ar1")["trend"].to_numpy()
        claim = f"some tokens grow less likely: upward share in {small.model}, AR(1) test, over chance ({CHANCE:.1%})"
        low, high = _bootstrap((trend == "upward").astype(float), clusters, n, rng)
        observed = float((trend == "upward").mean())
        verdict = _verdict(low - CHANCE, high - CHANCE)
        yield small.experiment, claim, "9.4 % (OPT 1.3B)", observed, low, high, verdict
        if larger:  # the one that has learned most: only a model that goes further can learn anything again
            furthest = min(larger, key=lambda run: run.nll_MC[:, -1].mean())
            yield from _across_sizes(small, furthest, clusters, n, rng)


def _across_sizes(
    small: ProbedRun, large: ProbedRun, clusters: NDArray[np.int64], n: int, rng: np.random.Generator
) -> Iterator[tuple[Any, ...]]:
    upward = (classify_trends(small.nll_MC, small.checkpoint(START))["trend"] == "upward").to_numpy()
    if upward.any():
        there = classify_trends(large.nll_MC[upward], large.checkpoint(START))["trend"].to_numpy()
        again = (there == "downward").astype(float) - (there == "upward")
        low, high = _bootstrap(again, clusters[upward], n, rng)
        claim = f"double descent: of {small.model}'s upward tokens, downward − upward share in {large.model}"
        yield small.experiment, claim, "over 0", float(again.mean()), low, high, _verdict(low, high)
    final, reached = small.nll_MC[:, -1], _first_reach(large, float(small.nll_MC[:, -1].mean()))
    same_tokens = int(np.argmin(np.abs(large.tokens_C - small.tokens_C[-1])))
    if reached is None or reached == same_tokens:
        return
    matched = np.abs(final - large.nll_MC[:, reached])
    nearer = np.abs(final - large.nll_MC[:, same_tokens]) - matched
    low, high = _bootstrap(nearer, clusters, n, rng)
    claim = f"{small.model} and {large.model} agree at equal perplexity: |Δnll| at equal tokens − at equal perplexity"
    yield small.experiment, claim, "over 0", float(nearer.mean()), low, high, _verdict(low, high)


def _first_reach(run: ProbedRun, mean_nll: float) -> int | None:
    below = np.flatnonzero(run.nll_MC.mean(axis=0) <= mean_nll)
    return int(below[0]) if len(below) else None


def _clusters(run: ProbedRun) -> NDArray[np.int64]:
    """The window of each token: neighbours share their context, so windows and not tokens are resampled."""
    if "window" in run.probes and len(run.probes) == len(run.nll_MC):
        return np.unique(run.probes["window"], return_inverse=True)[1]
    return np.arange(len(run.nll_MC))


# ---- tasks and sequences


def _task_claims(runs: Runs, n: int, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    if runs.tasks.empty or runs.intervals.empty:
        return
    for experiment in runs.tasks["experiment"].unique():
        frame = runs_frame(runs.select(experiment=experiment))
        found = frame.groupby(["model", "step"])["task"].transform("nunique")
        frame = mean_over_tasks(frame[(found == found.max()) & (frame["tokens"] > 0)])
        models = frame["model"].unique()
        if len(frame) < 8 or len(models) < 2 or frame["parameters"].isna().any():
            continue
        parts = [frame[frame["model"] == m] for m in models]
        draws = [pd.concat([parts[k] for k in _two_or_more(len(parts), rng)]) for _ in range(n)]
        fits, observed = pd.DataFrame([r_squared(d) for d in draws]), r_squared(frame)
        low, high = np.percentile(fits["ln ppl"] - fits["ln FLOPs"], [2.5, 97.5])
        lead = observed["ln ppl"] - observed["ln FLOPs"]
        ahead = "perplexity predicts accuracy: R² of ln ppl − R² of ln FLOPs"
        yield experiment, ahead, "0.067 (Pythia)", lead, low, high, _verdict(low, high)
        low, high = np.percentile(fits["ln ppl + ln size"] - fits["ln ppl"], [2.5, 97.5])
        gain = observed["ln ppl + ln size"] - observed["ln ppl"]
        beyond = f"size adds nothing to it: gain in R² of ln size beside ln ppl, under {LITTLE:g}"
        yield experiment, beyond, "0.001 (Pythia)", gain, low, high, _verdict(LITTLE - high, LITTLE - low)


def _sequence_claims(runs: Runs, n: int, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    table = runs.table("sequences")
    if table.empty:
        return
    sizes = parameters_by_run(runs.manifests)
    noisy = table[table["kind"].isin(["random", "contradicted"])]
    for (experiment, kind, level), own in noisy.groupby(["experiment", "kind", "level"], dropna=False):
        slope, slopes = _slopes_on_size(own, sizes, n, rng)
        if np.isnan(slope):
            continue
        low, high = np.percentile(slopes, [2.5, 97.5])
        what = f"{level:.0%} random" if kind == "random" else str(kind)
        claim = f"larger models find {what} text likelier: slope of the loss on ln size, nats"
        yield experiment, claim, "under 0", slope, low, high, _verdict(-high, -low)


def _slopes_on_size(
    sequences: pd.DataFrame, sizes: dict[tuple[str, str], float], n: int, rng: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """Slope of the last loss on ln size, and those of resampled sequences (the same ones in every model)."""
    last = sequences[sequences["interval"] == sequences.groupby("run")["interval"].transform("max")]
    sums = last.pivot_table(index=["experiment", "run"], columns="sequence", values=["nll_sum", "token_count"]).dropna(
        axis=1
    )
    x = np.log([sizes.get(key, np.nan) for key in sums.index])
    known = np.isfinite(x)
    if len(np.unique(x[known])) < 2:
        return float("nan"), np.empty(0)
    nll_RS, count_RS = (sums[name].to_numpy()[known] for name in ("nll_sum", "token_count"))
    chosen = np.vstack([np.arange(nll_RS.shape[1]), rng.integers(0, nll_RS.shape[1], (n, nll_RS.shape[1]))])
    loss = nll_RS[:, chosen].sum(axis=-1) / count_RS[:, chosen].sum(axis=-1)  # models × resamples, the first as it is
    slopes = np.polyfit(x[known], loss, 1)[0]
    return float(slopes[0]), slopes[1:]


# ---- resampling


def _two_or_more(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``n`` draws from n with replacement, at least two of them different: one model alone knows nothing of size."""
    while True:
        chosen = rng.integers(0, n, n)
        if (chosen != chosen[0]).any():
            return chosen


def _bootstrap(
    values_M: NDArray[np.float64], clusters_M: NDArray[np.int64], n: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Percentile interval of the mean, resampling whole clusters."""
    _, index = np.unique(clusters_M, return_inverse=True)
    sums, counts = np.bincount(index, values_M), np.bincount(index)
    chosen = rng.integers(0, len(sums), (n, len(sums)))
    low, high = np.percentile(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _verdict(low: float, high: float) -> str:
    """Of a claim that a quantity is over 0."""
    return "agrees" if low > 0 else "disagrees" if high < 0 else "undecided"


CLAIMS = ClaimSet(
    study="trajectories",
    source="Training trajectories across scales (Xia et al. 2023, arXiv 2212.09803)",
    table=table,
    reading="Intervals are 95 % bootstrap intervals; agrees and disagrees: the interval lies on one side.",
)
