"""Claims of the compute-aware token-budget study (arXiv 2606.13370), as listed in docs/statistics.md.

They are about a small text seen many times; a single pass over fresh text is the study's control and not judged.
"""

import numpy as np
import pandas as pd

from trajlab.analysis.claims.claim import Claim, mean_claim
from trajlab.analysis.claims.claim_set import ClaimSet
from trajlab.analysis.conditions import Condition, conditions
from trajlab.analysis.diminishing_returns import best_interval
from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import Manifest, single_pass
from trajlab.analysis.repeated_measures import rm_anova, sign_flip_test
from trajlab.analysis.stability import stability
from trajlab.analysis.statistics.grids import complete_grid

ALPHA = 0.05

PARAMETERS = 4_260_000
SEEDS, INTERVALS, OBSERVATIONS = 6, 21, 126
FINAL_TOKENS, TURN_TOKENS = 20_000_768, 4e6
LOSS_INITIAL, LOSS_TURN, LOSS_FINAL = 8.3552, 2.7996, 3.9010


def table(runs: Runs) -> pd.DataFrame:
    """A row per claim; intervals are t intervals over seeds, verdicts those of `Claim.verdict`."""
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
    return [*_design(condition, grid), *_losses(condition, grid), *_effects(telemetry), *_steadiness(telemetry)]


def _design(condition: Condition, grid: pd.DataFrame) -> list[Claim]:
    parameters = np.nan if condition.parameters is None else condition.parameters
    return [
        Claim("parameters", PARAMETERS, parameters),
        Claim("seeds", SEEDS, len(grid)),
        Claim("intervals", INTERVALS, grid.shape[1]),
        Claim("observations", OBSERVATIONS, grid.size),
        Claim("tokens at the end", FINAL_TOKENS, int(condition.intervals["tokens"].max())),
    ]


def _losses(condition: Condition, grid: pd.DataFrame) -> list[Claim]:
    """The loss near 4M is read at the interval nearest to the same share of the budget."""
    tokens_K = condition.intervals.groupby("interval")["tokens"].mean()
    share_K = (tokens_K / tokens_K.max()).to_numpy()
    near = int(np.abs(share_K - TURN_TOKENS / FINAL_TOKENS).argmin())
    initial_S, near_S, final_S = (grid.iloc[:, i].to_numpy() for i in (0, near, -1))
    best = best_interval(condition.intervals)
    scale = FINAL_TOKENS / tokens_K.max()
    return [
        mean_claim("mean loss at initialisation", LOSS_INITIAL, initial_S),
        mean_claim("mean loss a fifth into the budget (4M tokens)", LOSS_TURN, near_S),
        mean_claim("mean loss at the end", LOSS_FINAL, final_S),
        mean_claim("rise from there to the end", LOSS_FINAL - LOSS_TURN, final_S - near_S),
        Claim(
            "tokens at the lowest mean loss, share of the budget",
            TURN_TOKENS / FINAL_TOKENS,
            best.tokens * scale / FINAL_TOKENS,
            best.tokens_low * scale / FINAL_TOKENS,
            best.tokens_high * scale / FINAL_TOKENS,
        ),
    ]


def _effects(telemetry: pd.DataFrame) -> list[Claim]:
    return [
        _effect(telemetry, "loss", "interval effect on loss"),
        _effect(telemetry, "ppl", "interval effect on perplexity"),
        _effect(telemetry, "volatility", "interval effect on rolling volatility"),
    ]


def _effect(telemetry: pd.DataFrame, measure: str, claim: str) -> Claim:
    """Significant by the Greenhouse–Geisser-corrected ANOVA; the sign-flip p stands beside it."""
    frame = telemetry.dropna(subset=[measure])
    if frame["seed"].nunique() < 2:
        return Claim(claim, "significant", "one seed", holds=None)
    p = rm_anova(frame, measure, "interval", "seed", n_bootstrap=0).p_gg
    flips = sign_flip_test(frame, measure, "interval", "seed")
    return Claim(claim, "significant", f"p_GG = {p:.2g}, sign flip p = {float(flips):.3g}", holds=p <= ALPHA)


def _steadiness(telemetry: pd.DataFrame) -> list[Claim]:
    beyond = telemetry["backslide_2se"].fillna(telemetry["backslide"]).astype(bool)
    per_seed = beyond.groupby(telemetry["seed"]).sum()
    stable = telemetry.groupby("seed")["stable"].any()
    return [
        Claim(
            "recurrent backslides",
            "in the runs",
            f"{per_seed.min()} to {per_seed.max()} per seed beyond 2 se",
            holds=bool((per_seed >= 2).all()),
        ),
        Claim(
            "no stable phase", "none", f"in {int(stable.sum())} of {len(stable)} seeds", holds=not bool(stable.any())
        ),
    ]


def repeats_its_text(manifest: Manifest) -> bool:
    """Whether the run sees tokens more than once; a manifest without a configuration is taken to."""
    return not manifest.get("config") or not single_pass(manifest)


CLAIMS = ClaimSet(
    study="budget",
    source="Compute-aware token budget (arXiv 2606.13370)",
    table=table,
    reading="A run of another size or corpus is expected to differ in its numbers.",
    applies=repeats_its_text,
)
