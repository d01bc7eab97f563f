"""Claims about what size does: models are the clusters that decide, never checkpoints or sequences (docs/methods.md §6)."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from trajlab.analysis.claims.claim import Claim, mean_interval, not_testable, one_sided
from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import mixture_family, parameters_by_run
from trajlab.analysis.task_curves import mean_over_tasks, runs_frame
from trajlab.analysis.task_curves.least_squares import least_squares_r2
from trajlab.analysis.task_curves.prediction import logarithms, quadratic

LITTLE = 0.01
"""A gain in R² that counts as nothing **(ours)**."""
FEWEST = 3
"""Models that a verdict needs: with two, every resample that holds both is the sample itself."""


def task_claims(runs: Runs) -> Iterator[tuple[str, Claim]]:
    """Perplexity predicts accuracy better than FLOPs do, and size adds nothing to it."""
    if runs.tasks.empty or runs.intervals.empty:
        return
    for experiment in runs.tasks["experiment"].unique():
        frame = runs_frame(runs.select(experiment=experiment))
        found = frame.groupby(["model", "step"])["task"].transform("nunique")
        frame = mean_over_tasks(frame[(found == found.max()) & (frame["tokens"] > 0)])
        if len(frame) < 8 or frame["model"].nunique() < 2 or frame["parameters"].isna().any():
            continue
        yield experiment, _gain_claim(frame, "perplexity predicts accuracy: R² of ln ppl − R² of ln FLOPs", True)
        claim = f"size adds nothing to it: gain in R² of ln size beside ln ppl, under {LITTLE:g}"
        yield experiment, _gain_claim(frame, claim, False)


def _gain_claim(frame: pd.DataFrame, claim: str, over_flops: bool) -> Claim:
    logs, accuracy = logarithms(frame)
    return gain_claim(logs, accuracy, frame["model"].to_numpy(), claim, over_flops)


def gain_claim(
    logs: Mapping[str, NDArray[np.float64]],
    accuracy: NDArray[np.float64],
    models: NDArray[np.object_],
    claim: str,
    over_flops: bool,
) -> Claim:
    """R² of ln ppl less that of ln FLOPs, or that of ln size beside ln ppl less that of ln ppl; a value per checkpoint."""
    names = np.unique(models)
    if len(names) < FEWEST:
        return not_testable(claim, "see the study", f"not testable with {len(names)} models: they are what varies")
    keep = [np.ones(len(models), bool), *(models != name for name in names)]
    observed, *without = (_gain({n: x[k] for n, x in logs.items()}, accuracy[k], over_flops) for k in keep)
    interval = mean_interval(
        len(names) * observed - (len(names) - 1) * np.array(without)
    )  # Tukey's pseudo-values (1958)
    shift = observed - float(np.mean(interval))
    interval = interval[0] + shift, interval[1] + shift
    bound, margin = (
        (0.0, "over 0") if over_flops else (LITTLE, f"under {LITTLE:g}: a gain that counts as nothing (ours)")
    )
    return one_sided(
        claim,
        "over 0" if over_flops else f"under {LITTLE:g}",
        observed,
        interval,
        bound,
        above=over_flops,
        margin=margin,
        holds=f"{len(names)} models",
        check="R² over models",
    )


def _gain(logs: Mapping[str, NDArray[np.float64]], accuracy: NDArray[np.float64], over_flops: bool) -> float:
    ppl = quadratic(logs["ln ppl"])
    other = quadratic(logs["ln FLOPs"]) if over_flops else [*ppl, logs["ln size"]]
    gain = least_squares_r2(ppl, accuracy)[0] - least_squares_r2(other, accuracy)[0]
    return gain if over_flops else -gain


def sequence_claims(runs: Runs, n: int, rng: np.random.Generator) -> Iterator[tuple[str, Claim]]:
    """Larger models find noisy and contradicted text likelier, and text that mixtures of models invent less likely."""
    table = runs.table("sequences")
    if table.empty:
        return
    sizes = parameters_by_run(runs.manifests)
    noisy = table[table["kind"].isin(["random", "contradicted"])]
    for (experiment, kind, level), own in noisy.groupby(["experiment", "kind", "level"], dropna=False):
        what = f"{level:.0%} random" if kind == "random" else str(kind)
        claim = f"larger models find {what} text likelier: slope of the loss on ln size, nats"
        if found := _slope_claim(claim, own, sizes, n, rng, above=False):
            yield experiment, found
    families = {(m["experiment"], m["run"]): mixture_family(m) for m in runs.manifests}
    mixed = table[table["kind"] == "mixture"]
    mixed = mixed.assign(family=[families.get(key) for key in zip(mixed["experiment"], mixed["run"], strict=True)])
    for (experiment, family, decoding), own in mixed.groupby(["experiment", "family", "decoding"], dropna=False):
        words = [str(w) for w in (family, decoding) if isinstance(w, str)]
        claim = f"larger models find text that mixtures invent less likely ({', '.join(words)}): slope on ln size, nats"
        if found := _slope_claim(claim, own, sizes, n, rng, above=True):
            yield experiment, found


def _slope_claim(
    claim: str, own: pd.DataFrame, sizes: dict[tuple[str, str], float], n: int, rng: np.random.Generator, *, above: bool
) -> Claim | None:
    """None where sizes don't differ; not testable with two models."""
    x_R, nll_RS, count_RS = _last_sums(own, sizes)
    if len(np.unique(x_R)) < 2 or not nll_RS.shape[1]:
        return None
    published = "over 0" if above else "under 0"
    if len(x_R) < FEWEST:
        return not_testable(claim, published, f"not testable with {len(x_R)} models: they are what varies")
    slope, interval = slope_interval(x_R, nll_RS, count_RS, n, rng)
    return one_sided(
        claim,
        published,
        slope,
        interval,
        0.0,
        above=above,
        margin=published,
        holds=f"{len(x_R)} models, sequences",
        check="slope on size",
    )


def _last_sums(
    sequences: pd.DataFrame, sizes: dict[tuple[str, str], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """ln size, and Σ nll and tokens of each text at the last checkpoint, models × texts; texts that all models scored."""
    last = sequences[sequences["interval"] == sequences.groupby("run")["interval"].transform("max")]
    text = [c for c in ("kind", "level", "level_large", "decoding", "sequence") if c in last and last[c].notna().any()]
    sums = last.pivot_table(index=["experiment", "run"], columns=text, values=["nll_sum", "token_count"]).dropna(axis=1)
    if sums.empty or {"nll_sum", "token_count"} - set(sums.columns.get_level_values(0)):
        return np.empty(0), np.empty((0, 0)), np.empty((0, 0))
    x_R = np.log([sizes.get(key, np.nan) for key in sums.index])
    known = np.isfinite(x_R)
    return x_R[known], sums["nll_sum"].to_numpy()[known], sums["token_count"].to_numpy()[known]


def slope_interval(
    x_R: NDArray[np.float64],
    nll_RS: NDArray[np.float64],
    count_RS: NDArray[np.float64],
    n: int,
    rng: np.random.Generator,
) -> tuple[float, tuple[float, float]]:
    """Slope of the mean loss on ``x_R`` with a 95 % interval over models and texts.

    Two parts, added as independent: the t interval of the regression over models (R − 2 degrees of freedom), and the spread
    over ``n`` resamples of the texts, the same ones in every model.
    """
    chosen = np.vstack([np.arange(nll_RS.shape[1]), rng.integers(0, nll_RS.shape[1], (n, nll_RS.shape[1]))])
    loss_RB = nll_RS[:, chosen].sum(axis=-1) / count_RS[:, chosen].sum(axis=-1)  # the first as it is
    slopes = np.polyfit(x_R, loss_RB, 1)[0]
    fit = stats.linregress(x_R, loss_RB[:, 0])
    of_models = float(stats.t.ppf(0.975, len(x_R) - 2)) * fit.stderr
    half = float(np.hypot(of_models, 1.96 * slopes[1:].std(ddof=1)))
    return float(slopes[0]), (float(slopes[0] - half), float(slopes[0] + half))
