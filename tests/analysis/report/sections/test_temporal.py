"""Sections of the temporal study on runs whose answers are planted."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.load import Runs
from trajlab.analysis.position_weighting import final_losses, weighting_contrasts
from trajlab.analysis.report.sections import forecasts, position_weighting, temporal

TOKENS_K = np.linspace(0, 20e6, 41)
POSITIONS = 32
IDENTITY = {"experiment": "e", "variant": "raw", "split": "valid"}


def position_rows(run: str, seed: int, shift: float = 0.0, first: int = 0) -> pd.DataFrame:
    """A run that obeys the temporal law, with noise between seeds."""
    rng, i = np.random.default_rng(seed), np.arange(1, POSITIONS + 1)
    rows = []
    for k, tokens in list(enumerate(TOKENS_K))[first:]:
        n = max(tokens / 1e6, 1e-2)
        loss = (0.3 * np.log(n) + 3) / (1 + 0.2 * i) + 2.5 / (1 + 0.5 * n) + 2 + shift
        loss = loss + 1e-3 * rng.normal(size=POSITIONS)
        rows.append(
            pd.DataFrame({**IDENTITY, "run": run, "seed": seed, "interval": k, "tokens": int(tokens), "position": i,
                          "nll_sum": 100 * loss, "nll_sq_sum": 100 * (loss**2 + 1), "count": 100})
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def interval_rows(positions: pd.DataFrame) -> pd.DataFrame:
    keys = ["experiment", "variant", "split", "run", "seed", "interval", "tokens"]
    sums = positions.groupby(keys, as_index=False)[["nll_sum", "count"]].sum()
    return sums.assign(loss=sums["nll_sum"] / sums["count"], lr=np.where(sums["tokens"] > 0, 1e-3, np.nan))


def runs_of(positions: pd.DataFrame, manifests: list[dict], **tables: pd.DataFrame) -> Runs:  # type: ignore[type-arg]
    return Runs({"positions": positions, "intervals": interval_rows(positions), **tables}, manifests)


def test_the_temporal_section_forecasts_planted_runs() -> None:
    positions = pd.concat([position_rows("seed=0", 0), position_rows("seed=1", 1)], ignore_index=True)
    part = temporal.section(runs_of(positions, []))
    assert part is not None
    assert {b.name for b in part.blocks if b.figure} == {
        "e_valid_position_law", "e_valid_parameters", "e_valid_forecast_20", "e_valid_forecast_40",
    }  # fmt: skip
    table = temporal.forecast_table(interval_rows(positions), positions).set_index(["fraction", "law"])
    assert table.loc[(0.4, "temporal"), "runs"] == 2
    assert table.loc[(0.4, "temporal"), "mae"] < 0.01
    assert table.loc[(0.1, "temporal"), "refused"] == 2  # four checkpoints


def test_runs_that_are_not_dense_have_no_section() -> None:
    few = position_rows("seed=0", 0)
    assert temporal.section(runs_of(few[few["interval"] < 10], [])) is None
    assert temporal.section(Runs({}, [])) is None


def test_a_split_that_names_the_corpus_of_the_fallback_is_pointed_out() -> None:
    config = {"data": {"validation": {"valid": {"source": "embedded"}}}}
    manifest = {"experiment": "e", "run": "seed=0", "config": config, "data": {"source": "embedded:StoryGrammar-1",
                "fingerprint": "0" * 24}}  # fmt: skip
    part = temporal.section(runs_of(position_rows("seed=0", 0), [manifest]))
    assert part is not None
    assert "training corpus' own" in part.blocks[0].words


def test_forecasts_are_scored_against_the_final_loss() -> None:
    positions = position_rows("seed=0", 0)
    final = interval_rows(positions)["loss"].iloc[-1]
    made = pd.DataFrame(
        {**IDENTITY, "run": "seed=0", "tokens": [2_000_000, 10_000_000], "law": "temporal", "target_tokens": 20_000_000,
         "forecast": [np.nan, final + 0.1], "low": [np.nan, final - 1], "high": [np.nan, final + 1],
         "refused": ["too thin", None]}
    )  # fmt: skip
    runs = runs_of(positions, [], forecasts=made)
    scored = forecasts.score_forecasts(made, runs.intervals)
    assert scored["error"].iloc[1] == pytest.approx(0.1)
    table = forecasts.by_progress(scored).set_index("budget seen")
    assert table.loc["0%–20%", "refused"] == 1
    assert table.loc["40%–60%", "mae"] == pytest.approx(0.1)
    assert forecasts.section(runs) is not None
    assert forecasts.section(runs_of(positions[positions["interval"] < 30], [], forecasts=made)) is None


def test_a_planted_gain_of_a_weighting_is_found_and_its_absence_too() -> None:
    frames, manifests = [], []
    for weighting, shift in (("none", 0.0), ("head", 0.0), ("tail", -0.05)):
        for seed in range(6):
            run = f"seed={seed},loss.position_weighting={weighting}"
            noise = (
                np.random.default_rng(seed).normal() * 0.1
                + np.random.default_rng([seed, len(weighting)]).normal() * 5e-3
            )
            frames.append(position_rows(run, seed, shift + noise, first=39))
            manifests.append({"experiment": "e", "run": run, "seed": seed, "status": "finished",
                              "config": {"loss": {"position_weighting": weighting}, "data": {"context": POSITIONS}}})  # fmt: skip
    runs = runs_of(pd.concat(frames, ignore_index=True), manifests)
    table = weighting_contrasts(final_losses(runs))
    whole = table[table["measure"] == "whole"].set_index("weighting")
    assert whole.loc["tail", "difference"] == pytest.approx(-0.05, abs=0.01)
    assert whole.loc["tail", "p_holm"] < 0.01
    assert whole.loc["head", "p_holm"] > 0.05
    assert whole.loc["tail", "seeds"] == 6
    assert position_weighting.section(runs) is not None
    assert position_weighting.section(runs_of(frames[0], manifests[:1])) is None
