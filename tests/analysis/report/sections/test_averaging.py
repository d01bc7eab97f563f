"""The report's section on averaging: there exactly when a run has an average, and with the right numbers in it."""

import copy

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.load import Runs
from trajlab.analysis.report import Section
from trajlab.analysis.report.sections.averaging import section

K = 21
TOKENS = np.arange(K) * 50_000


def rows(
    experiment: str, run: str, seed: int, variant: str, loss_K: np.ndarray, tokens_K: np.ndarray = TOKENS
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "experiment": experiment,
            "run": run,
            "seed": seed,
            "variant": variant,
            "split": "valid",
            "interval": range(len(loss_K)),
            "tokens": tokens_K,
            "loss": loss_K,
            "lr": 0.1,
            "seconds_train": 1.0,
        }
    )


def manifest(experiment: str, run: str, rate: float, final_ratio: float) -> dict:
    averagers = {
        "a": {"_target_": "trajlab.averaging.lawa", "k": 5, "every_tokens": 2_000},
        "b": {"_target_": "trajlab.averaging.lawa", "k": 50, "every_tokens": 2_000},
    }
    config = {
        "data": {"windows_per_step": 4, "context": 25},
        "intervals": {"budget_tokens": 1_000_000},
        "optimizer": {"lr": rate},
        "schedule": {"final_ratio": final_ratio},
        "callbacks": {"x": {"averagers": averagers}},
    }
    return {"experiment": experiment, "run": run, "status": "finished", "config": config}


@pytest.fixture(scope="module")
def runs() -> Runs:
    """Two rates × two seeds; lawa5 100,000 tokens ahead of raw, lawa50 behind; a spike; annealed runs 0.3 nats below."""
    frames, manifests = [], []
    for rate in (0.01, 0.1):
        for seed in (0, 1):
            raw = 5 - 0.1 * np.arange(K) + 0.01 * seed
            spiked = raw + np.where(np.arange(K) == 12, 0.5, 0)
            name = f"seed={seed},optimizer.lr={rate}"
            for variant, loss in (("raw", spiked), ("lawa5", raw - 0.2), ("lawa50", raw + 0.1)):
                frames.append(rows("long", name, seed, variant, loss))
            manifests.append(manifest("long", name, rate, 0.1))
            if rate == 0.1:
                short = raw[:11] - np.where(np.arange(11) == 10, 0.3, 0)
                frames.append(rows("short", f"seed={seed}", seed, "raw", short, TOKENS[:11]))
                manifests.append(manifest("short", f"seed={seed}", rate, 0.0))
    return Runs({"intervals": pd.concat(frames, ignore_index=True)}, manifests)


def table(part: Section, words: str) -> pd.DataFrame:
    (found,) = [b.frame for b in part.blocks if b.kind == "table" and words in b.words]
    return found


def test_there_is_no_section_without_an_average(runs):
    assert section(Runs({"intervals": runs.intervals[runs.intervals["variant"] == "raw"]}, runs.manifests)) is None
    assert section(Runs({})) is None


def test_the_tables_hold_what_was_planted(runs):
    part = section(copy.deepcopy(runs))
    assert part is not None
    saved = table(part, "long optimizer.lr=0.1: tokens to a target").set_index(["variant", "raw reaches it at"])
    assert saved.loc[("lawa5", 0.5), "saved"].startswith("100,000")
    assert saved.loc[("lawa50", 0.5), "saved"].startswith("-50,000")
    gaps = table(part, "long optimizer.lr=0.01: the longest gap").set_index("variant")
    assert gaps.loc["lawa5", "nats that raw never reaches"] == pytest.approx(0.2)
    spikes = table(part, "long optimizer.lr=0.1: rise at each spike")
    assert set(spikes["tokens"]) == {600_000}
    assert (spikes["mean"] < 0).all()  # the averages go on falling through it
    rates = table(part, "mean gain in nats by learning rate")
    assert set(rates["peak_lr"]) == {0.01, 0.1}
    annealed = table(part, "how far behind annealed runs").set_index("variant")
    assert annealed.loc["raw", "behind"].startswith("+0.3000")
    assert annealed.loc["lawa5", "behind"].startswith("+0.1000")


def test_each_figure_is_named_once(runs):
    part = section(copy.deepcopy(runs))
    assert part is not None
    names = [b.name for b in part.blocks if b.kind == "figure"]
    assert len(names) == len(set(names)) >= 9
