"""Runs evaluated by the clock, put on common tokens."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.align import align
from trajlab.analysis.stability import between_seeds


def run(seed: int, tokens: np.ndarray) -> pd.DataFrame:
    base = {"run": f"seed={seed}", "seed": seed, "variant": "raw", "split": "valid", "interval": range(len(tokens))}
    return pd.DataFrame({**base, "tokens": tokens, "loss": 2 + 100 / (tokens + 50)})


def test_curves_meet_at_common_tokens_with_an_error_that_holds() -> None:
    rng = np.random.default_rng(0)
    frame = pd.concat([run(s, np.sort(rng.choice(np.arange(1, 2000), 30, replace=False))) for s in range(4)])
    with pytest.raises(ValueError, match="align"):
        between_seeds(frame)
    found = align(frame)
    off = np.abs(found["loss"] - (2 + 100 / (found["tokens"] + 50)))
    assert (off <= found["interpolation_error"] + 1e-12).mean() > 0.9
    assert between_seeds(found)["n"].unique() == [4]


def test_what_was_evaluated_stays_as_it_is() -> None:
    frame = run(0, np.array([0.0, 100, 300, 400]))
    found = align(frame, [100, 300])
    assert found["loss"].tolist() == frame["loss"].iloc[1:3].tolist()
    assert found["interpolation_error"].tolist() == [0, 0]


def test_nothing_is_extrapolated() -> None:
    frame = pd.concat([run(0, np.array([0.0, 100, 200])), run(1, np.array([0.0, 50, 100]))])
    assert align(frame)["tokens"].max() == 100
    with pytest.raises(ValueError, match="seed=1.*covers 0 to 100 tokens only"):
        align(frame, [50, 150])
