"""The claims of the study of checkpoint series, each against what the runs at hand say (Xia et al. 2023, arXiv 2212.09803).

`series_claims` answers for those claims whose tables are there, `table` in the columns of `trajlab.analysis.claims`. The
models at hand are not the published ones: a verdict says whether the same pattern stands here, not whether the published
number was right. Every quantity is 0 where the pattern is absent (docs/methods.md §6).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from trajlab.analysis.checkpoint_series import ProbedRun, probed_runs
from trajlab.analysis.claims.across_models import sequence_claims, task_claims
from trajlab.analysis.claims.claim import Claim, not_testable, one_sided
from trajlab.analysis.claims.claim_set import ClaimSet
from trajlab.analysis.load import Runs
from trajlab.analysis.token_trends import classify_trends
from trajlab.analysis.token_trends.across_sizes import agreement, rise_and_fall
from trajlab.analysis.token_trends.chance import upward_excess

START = 0.1


def table(runs: Runs) -> pd.DataFrame:
    """A row per claim whose tables are there; where runs of several experiments are given, each claim names its own."""
    found = series_claims(runs)
    if len(set(found["experiment"])) > 1:
        found["claim"] = found["experiment"] + ": " + found["claim"]
    return found


def series_claims(runs: Runs, n_bootstrap: int = 500, seed: int = 0) -> pd.DataFrame:
    """Each claim with its 95 % interval and verdict: a row per experiment × claim.

    Intervals hold windows of text for tokens (tokens where windows are not stored), models for
    tasks, models and sequences (``n_bootstrap`` resamples) for sequences. What clusters decide is not testable with two clusters.
    """
    rng = np.random.default_rng(seed)
    found = [*_token_claims(runs), *task_claims(runs), *sequence_claims(runs, n_bootstrap, rng)]
    columns = ["experiment", *Claim("", "", "").row()]
    return pd.DataFrame([{"experiment": e, **claim.row()} for e, claim in found], columns=columns)


def _token_claims(runs: Runs) -> Iterator[tuple[str, Claim]]:
    probed = [run for run in probed_runs(runs) if len(run.tokens_C) - run.checkpoint(START) >= 3]
    for probe_set in dict.fromkeys(run.probe_set for run in probed):
        own = [run for run in probed if run.probe_set == probe_set]
        small = own[0]
        larger = [run for run in own if run.parameters > small.parameters]
        clusters, text = _clusters(small)
        yield small.experiment, _upward(small, clusters, text)
        if larger:  # the one that has learned most: only a model that goes further can learn anything again
            furthest = min(larger, key=lambda run: run.nll_MC[:, -1].mean())
            yield small.experiment, _double_descent(small, furthest, clusters, text)
            yield small.experiment, _equal_perplexity(small, furthest, clusters, text)


def _upward(small: ProbedRun, clusters: NDArray[np.int64], text: str) -> Claim:
    found = upward_excess(small.nll_MC[:, small.checkpoint(START) :], clusters)
    claim = f"some tokens grow less likely: upward share in {small.model}, AR(1) test, beyond chance"
    own_phi, own_sd, shared_phi, shared_sd = (np.median(x) for x in vars(found.noise).values())
    words = (
        f"{found.share:.1%} upward, {found.expected:.1%} by chance with noise of φ = {own_phi:.2f} "
        f"(shared by all tokens: φ = {shared_phi:.2f}, {shared_sd:.2g} of {own_sd:.2g} nats)"
    )
    return one_sided(
        claim,
        "9.4 % (OPT 1.3B)",
        found.excess,
        (found.low, found.high),
        0.0,
        margin="over 0",
        holds=f"{text}, noise of checkpoints",
        check="upward tokens",
        reason=words,
    )


def _double_descent(small: ProbedRun, large: ProbedRun, clusters: NDArray[np.int64], text: str) -> Claim:
    claim = f"double descent: {small.model}'s upward tokens rise in {large.model} beyond their matches, and fall again, nats"
    upward = (classify_trends(small.nll_MC, small.checkpoint(START))["trend"] == "upward").to_numpy()
    start, turn = large.checkpoint(START), _first_reach(large, float(small.nll_MC[:, -1].mean()))
    if not upward.any() or upward.all():
        return not_testable(claim, "over 0", f"{small.model} has {'only' if upward.any() else 'no'} upward tokens")
    if turn is None or not start < turn < large.nll_MC.shape[1] - 1:
        return not_testable(
            claim, "over 0", f"{large.model} has no checkpoints before and after {small.model}'s last loss"
        )
    parts = rise_and_fall(large.nll_MC, upward, start, turn)
    low, high = smallest_mean_interval(parts.to_numpy(), clusters[upward])
    means = parts.mean()
    words = f"rise {means['rise']:.3g}, fall {means['fall']:.3g}, rise beyond tokens matched in level {means['rise_beyond']:.3g}"
    return one_sided(
        claim,
        "over 0",
        float(means.min()),
        (low, high),
        0.0,
        margin="over 0: the smallest of the three",
        holds=text,
        check="double descent",
        reason=words,
    )


def _equal_perplexity(small: ProbedRun, large: ProbedRun, clusters: NDArray[np.int64], text: str) -> Claim:
    claim = (
        f"{small.model} and {large.model} agree at equal perplexity: |Δnll| at equal tokens − at equal perplexity, beyond "
        "that of permuted tokens"
    )
    final, reached = small.nll_MC[:, -1], _first_reach(large, float(small.nll_MC[:, -1].mean()))
    same_tokens = int(np.argmin(np.abs(large.tokens_C - small.tokens_C[-1])))
    if reached is None or reached == same_tokens:
        reason = "never reached" if reached is None else "reached at the same tokens"
        return not_testable(claim, "over 0", f"{small.model}'s last perplexity is {reason} by {large.model}")
    nearer = agreement(final, large.nll_MC[:, reached]) - agreement(final, large.nll_MC[:, same_tokens])
    interval = smallest_mean_interval(nearer[:, None], clusters)
    return one_sided(
        claim, "over 0", float(nearer.mean()), interval, 0.0, margin="over 0", holds=text, check="equal perplexity"
    )


def _first_reach(run: ProbedRun, mean_nll: float) -> int | None:
    below = np.flatnonzero(run.nll_MC.mean(axis=0) <= mean_nll)
    return int(below[0]) if len(below) else None


def _clusters(run: ProbedRun) -> tuple[NDArray[np.int64], str]:
    """The window of each token: neighbours share their context, so windows and not tokens are resampled."""
    if "window" in run.probes and len(run.probes) == len(run.nll_MC):
        return np.unique(run.probes["window"], return_inverse=True)[1], "windows of text"
    return np.arange(len(run.nll_MC)), "tokens (no windows stored)"


def smallest_mean_interval(values_MQ: NDArray[np.float64], clusters_M: NDArray[np.int64]) -> tuple[float, float]:
    """95 % t interval over whole clusters of the smallest of the columns' means; (nan, nan) of two clusters.

    All columns lie over a bound where the least of their lower ends does (intersection–union); one lies under it where its
    upper end does, at a level shared by the columns (Bonferroni). Percentiles of resampled clusters would be too narrow: the
    tokens that one model unlearns may stand in a handful of windows.
    """
    _, index = np.unique(clusters_M, return_inverse=True)
    counts = np.bincount(index)
    g = len(counts)
    if g < 3:
        return np.nan, np.nan
    mean_Q = values_MQ.mean(0)
    sums_QG = np.stack([np.bincount(index, column) for column in (values_MQ - mean_Q).T])
    error_Q = np.sqrt(g / (g - 1) * np.square(sums_QG).sum(1)) / len(values_MQ)
    low, high = stats.t.ppf([0.975, 1 - 0.025 / len(mean_Q)], g - 1)
    return float((mean_Q - low * error_Q).min()), float((mean_Q + high * error_Q).min())


CLAIMS = ClaimSet(
    study="trajectories",
    source="Training trajectories across scales (Xia et al. 2023, arXiv 2212.09803)",
    table=table,
    reading="Every quantity is 0 where the pattern is absent. Supported and contradicted: the whole 95 % interval lies on one "
    "side; holds says over what.",
)
