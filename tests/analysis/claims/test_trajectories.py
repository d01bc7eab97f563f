"""Verdicts on the study of checkpoint series: planted agreement, planted disagreement, nothing where nothing is stored."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.claims.trajectories import series_claims
from trajlab.analysis.load import Runs

SIZES = {"small": 1e6, "middle": 1e7, "large": 1e8}
CHECKPOINTS = 24


def tokens(learned_again: bool) -> pd.DataFrame:
    """Half of the tokens rise in the small model; the large one goes twice as far and brings them down, or does not."""
    rng, frames = np.random.default_rng(0), []
    for run, reach in (("small", 1.0), ("large", 2.0)):
        u = np.linspace(0, reach, CHECKPOINTS)
        late = 2 - np.maximum(u - 1, 0) * 3 if learned_again else 1 + u
        nll = np.repeat([5 - 2 * u, np.where(u < 1, 1 + u, late)], 30, axis=0) + rng.normal(0, 0.02, (60, CHECKPOINTS))
        grid = pd.DataFrame(nll).reset_index(names="probe").melt("probe", var_name="interval", value_name="nll")
        frames.append(grid.assign(experiment="e", run=run, variant="raw"))
    frame = pd.concat(frames, ignore_index=True).astype({"interval": int})
    return frame.assign(tokens=100 * frame["interval"], step=frame["interval"])


def accuracy(on_size: float) -> dict[str, pd.DataFrame]:
    rng, rows = np.random.default_rng(1), []
    for run, size in SIZES.items():
        for i in range(1, 15):
            ppl = 3 + 40 * size**-0.1 + 30 / i
            value = 0.9 - 0.15 * np.log(ppl) + on_size * np.log(size) + rng.normal(0, 0.001)
            rows.append(("e", run, None, "raw", "valid", i, 1000 * i, i, ppl, value))
    columns = ["experiment", "run", "seed", "variant", "split", "interval", "tokens", "step", "ppl", "value"]
    frame = pd.DataFrame(rows, columns=columns)
    scores = frame[["experiment", "run", "step", "value"]].assign(task="t", metric="acc")
    return {"intervals": frame.drop(columns="value"), "tasks": scores}


def sequences(slope: float) -> pd.DataFrame:
    rng, rows = np.random.default_rng(2), []
    for run, size in SIZES.items():
        for sequence in range(20):
            loss = 6 + slope * np.log(size) + rng.normal(0, 0.1)
            rows.append(("e", run, 0, 0, 100, "random", 0.4, None, sequence, loss * 50, 50))
    columns = ["experiment", "run", "interval", "step", "tokens", "kind", "level", "decoding", "sequence"]
    return pd.DataFrame(rows, columns=[*columns, "nll_sum", "token_count"])


def verdicts(**tables: pd.DataFrame) -> dict[str, str]:
    manifests = [{"experiment": "e", "run": run, "seed": None, "parameters": int(size)} for run, size in SIZES.items()]
    found = series_claims(Runs(tables, manifests), n_bootstrap=100)
    inside = found["observed"].between(found["ci_low"] - 1e-9, found["ci_high"] + 1e-9)
    assert inside.all()
    return {
        claim.split(":")[0].split(" (")[0]: verdict
        for claim, verdict in zip(found["claim"], found["verdict"], strict=True)
    }


@pytest.mark.parametrize(("again", "word"), [(True, "agrees"), (False, "disagrees")])
def test_double_descent(again: bool, word: str) -> None:
    found = verdicts(tokens=tokens(again))
    assert found["some tokens grow less likely"] == "agrees"
    assert found["double descent"] == word


@pytest.mark.parametrize(("on_size", "word"), [(0.0, "agrees"), (0.05, "disagrees")])
def test_size_beside_perplexity(on_size: float, word: str) -> None:
    assert verdicts(**accuracy(on_size))["size adds nothing to it"] == word


@pytest.mark.parametrize(("slope", "word"), [(-0.2, "agrees"), (0.2, "disagrees"), (0.0, "undecided")])
def test_noise_and_size(slope: float, word: str) -> None:
    assert verdicts(sequences=sequences(slope))["larger models find 40% random text likelier"] == word


def test_nothing_stored_claims_nothing() -> None:
    assert series_claims(Runs({})).empty
