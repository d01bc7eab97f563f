"""Claims of the compute-aware token-budget study (arXiv 2606.13370), as listed in docs/statistics.md.

They are about a small text seen many times; a single pass over fresh text is the study's control and not judged.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.claims.budget_steadiness import ALPHA, steadiness_claims
from trajlab.analysis.claims.claim import (
    CONTRADICTED,
    NOT_TESTABLE,
    SUPPORTED,
    UNDECIDED,
    Claim,
    design,
    mean_claim,
    not_testable,
)
from trajlab.analysis.claims.claim_set import ClaimSet
from trajlab.analysis.conditions import Condition, conditions
from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import Manifest, single_pass, vocabulary
from trajlab.analysis.repeated_measures import rm_anova, sign_flip_test
from trajlab.analysis.stability import stability
from trajlab.analysis.statistics.grids import complete_grid
from trajlab.analysis.statistics.intervals import t_interval
from trajlab.analysis.turning_point import Turn, turn_of

MARGIN = 0.05
WHY = "nats; 5 % of perplexity, the smallest difference worth naming (ours)"

PARAMETERS, PARAMETERS_ROUNDING = 4_260_000, 5_000
VOCABULARY = 4_096
SEEDS, INTERVALS, OBSERVATIONS = 6, 21, 126
FINAL_TOKENS, TURN_TOKENS = 20_000_768, 4e6
LOSS_INITIAL, LOSS_TURN, LOSS_FINAL = 8.3552, 2.7996, 3.9010


def table(runs: Runs) -> pd.DataFrame:
    """A row per claim; intervals hold the spread over seeds, verdicts are those of `Claim.verdict`."""
    return pd.DataFrame([c.row() for c in claims(runs)])


def claims(runs: Runs) -> list[Claim]:
    """The design, the three losses, the turn, the three significant effects, the backslides, the missing stable phase.

    The first split of the raw weights is used. Raises ValueError where there is no condition or more than one.
    """
    found = list(conditions(runs))
    names = sorted({c.name for c in found})
    if len({(c.intervals["experiment"].iloc[0], c.intervals["split"].iloc[0]) for c in found}) != len(found):
        raise ValueError(
            f"more than one condition ({', '.join(names)}): check one at a time, runs.select(experiment=…)"
        )
    own = [c for c in found if c.intervals["split"].iloc[0] == "valid"] or found[:1]
    if len(own) != 1:
        raise ValueError(f"{len(own)} conditions ({', '.join(names) or 'none'}): check one, runs.select(experiment=…)")
    condition = own[0]
    grid = complete_grid(condition.intervals, "loss", "interval", "seed", min_subjects=1)
    telemetry = stability(condition.intervals)
    other = other_design(condition.parameters, _vocabularies(runs, condition))
    return [
        *_design(condition, grid),
        *_losses(condition, grid, other),
        *_effects(telemetry),
        *steadiness_claims(condition),
    ]


def _vocabularies(runs: Runs, condition: Condition) -> set[int]:
    """As far as the manifests of the condition's runs state them."""
    own = set(condition.intervals[["experiment", "run"]].itertuples(index=False, name=None))
    sizes = {vocabulary(m) for m in runs.manifests if (m.get("experiment"), m.get("run")) in own}
    return {size for size in sizes if size is not None}


def other_design(parameters: int | None, vocabularies: set[int]) -> str:
    """Why losses in nats can't be held against the published ones; empty where they can, or where nothing is known.

    A loss in nats per token belongs to its vocabulary and its size of model: another number under another design is no evidence
    against a claim on this one.
    """
    words = []
    if parameters is not None and abs(parameters - PARAMETERS) > PARAMETERS_ROUNDING:
        words.append(f"{parameters:,} parameters for {PARAMETERS:,}")
    if vocabularies - {VOCABULARY}:
        words.append(f"a vocabulary of {', '.join(f'{v:,}' for v in sorted(vocabularies))} for {VOCABULARY:,}")
    return f"another design: {' and '.join(words)}; nats per token don't compare" if words else ""


def _design(condition: Condition, grid: pd.DataFrame) -> list[Claim]:
    return [
        design("parameters", PARAMETERS, condition.parameters, rounding=PARAMETERS_ROUNDING),
        design("seeds", SEEDS, len(grid)),
        design("intervals", INTERVALS, grid.shape[1]),
        design("observations", OBSERVATIONS, grid.size),
        design("tokens at the end", FINAL_TOKENS, int(condition.intervals["tokens"].max()), rounding=10_000),
    ]


def _losses(condition: Condition, grid: pd.DataFrame, other: str) -> list[Claim]:
    """The loss near 4M is read at the interval nearest to the same share of the budget; ``other`` as `other_design` has it."""
    tokens_K = condition.intervals.groupby("interval")["tokens"].mean()
    share_K = (tokens_K / tokens_K.max()).to_numpy()
    near = int(np.abs(share_K - TURN_TOKENS / FINAL_TOKENS).argmin())
    initial_S, near_S, final_S = (grid.iloc[:, i].to_numpy() for i in (0, near, -1))
    nats = [
        mean_claim("mean loss at initialisation", LOSS_INITIAL, initial_S, MARGIN, WHY),
        mean_claim("mean loss a fifth into the budget (4M tokens)", LOSS_TURN, near_S, MARGIN, WHY),
        mean_claim("mean loss at the end", LOSS_FINAL, final_S, MARGIN, WHY),
        mean_claim("rise from there to the end", LOSS_FINAL - LOSS_TURN, final_S - near_S, MARGIN, WHY),
    ]
    if other:
        nats = [replace(claim, decided=NOT_TESTABLE, reason=other) for claim in nats]
    return [*nats, _turn(condition.intervals, share_K)]


def _turn(intervals: pd.DataFrame, share_K: NDArray[np.float64]) -> Claim:
    """The place of the lowest mean loss; its interval spans the set of intervals that may be the lowest."""
    if intervals["seed"].nunique() < 2:
        return not_testable(LOWEST, TURN_TOKENS / FINAL_TOKENS, "one seed: its spread is unknown")
    grid = complete_grid(intervals, "loss", "interval", "seed")
    return turn_claim(turn_of(grid.to_numpy()), share_K)


LOWEST = "tokens at the lowest mean loss, share of the budget"


def turn_claim(turn: Turn, share_K: NDArray[np.float64]) -> Claim:
    """``turn`` by the numbers of the intervals, whose shares of the budget are ``share_K``."""
    published = TURN_TOKENS / FINAL_TOKENS
    step = float(np.diff(share_K).max())
    low, high = share_K[turn.confidence_set[0]], share_K[turn.confidence_set[-1]]
    region = (published - 1.01 * step, published + 1.01 * step)
    why = f"±{step:.3g}: one interval, since no place between two is measured"
    words = f"set of {len(turn.confidence_set)} intervals; turn: p = {turn.p:.3g}"
    return Claim(LOWEST, published, share_K[turn.best], low, high, region, why, "seeds", "place of the turn", words)


def _effects(telemetry: pd.DataFrame) -> list[Claim]:
    return [
        _effect(telemetry, "loss", "interval effect on loss", MARGIN),
        _effect(telemetry, "ppl", "interval effect on perplexity", MARGIN),
    ]


def _effect(telemetry: pd.DataFrame, measure: str, claim: str, margin: float) -> Claim:
    """Supported by the Greenhouse–Geisser-corrected ANOVA; contradicted where every interval is equal within ``margin``.

    Equal: each interval's mean lies within the margin (nats; relative for perplexity) of the mean of all, by its 95 %
    interval. All of them must, so no correction for their number is needed (intersection–union, Berger 1982,
    doi:10.1080/00401706.1982.10487790).
    """
    frame = telemetry.dropna(subset=[measure])
    if frame["seed"].nunique() < 2:
        return not_testable(claim, "significant", "one seed: its spread is unknown")
    p = rm_anova(frame, measure, "interval", "seed", n_bootstrap=0).p_gg
    flips = sign_flip_test(frame, measure, "interval", "seed")
    y_SK = complete_grid(frame, measure, "interval", "seed").to_numpy()
    return Claim(
        claim,
        "significant",
        f"p_GG = {p:.2g}, sign flip p = {float(flips):.3g}",
        margin=f"p_GG ≤ .05; contradicted where all intervals are equal within {margin:g}",
        holds="seeds",
        check="interval effect",
        decided=effect_verdict(p, y_SK, margin * (1.0 if measure == "loss" else float(y_SK.mean()))),
    )


def effect_verdict(p: float, y_SK: NDArray[np.float64], margin: float) -> str:
    """From the corrected ``p`` and each interval's distance from the mean of all, in the unit of ``y_SK``."""
    off_SK = y_SK - y_SK.mean(1, keepdims=True)
    n = len(off_SK)
    ends = t_interval(off_SK.mean(0), off_SK.std(0, ddof=1) / n**0.5, n)
    level = bool(np.abs(ends).max() <= margin)
    return CONTRADICTED if level else SUPPORTED if p <= ALPHA else UNDECIDED


def repeats_its_text(manifest: Manifest) -> bool:
    """Whether the run sees tokens more than once; a manifest without a configuration is taken to."""
    return not manifest.get("config") or not single_pass(manifest)


CLAIMS = ClaimSet(
    study="budget",
    source="Compute-aware token budget (arXiv 2606.13370)",
    table=table,
    reading="Supported: the whole 95 % interval lies within the margin of what was published; contradicted: none of it. Losses "
    "in nats are tried on the published size and vocabulary alone; on another corpus they are expected to differ.",
    applies=repeats_its_text,
)
