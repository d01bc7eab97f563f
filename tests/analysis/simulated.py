"""Runs of the budget study's shape, made up: no training needed to test what reads its tables."""

import numpy as np
import pandas as pd

from trajlab.analysis.load import Runs

EVERY_TOKENS = 1_000_038


def budget_runs(seeds: int = 6, intervals: int = 21, experiment: str = "tinystories_budget", seed: int = 0) -> Runs:
    """A fall to 2.80 at a fifth of the budget and a rise to 3.90, seeds wandering by hundredths of a nat."""
    rng = np.random.default_rng(seed)
    place = np.linspace(0, 1, intervals)
    mean_K = np.interp(place, [0, 0.05, 0.1, 0.2, 1.0], [8.3552, 3.6, 3.05, 2.7996, 3.9010])
    rows, steps, manifests = [], [], []
    for s in range(seeds):
        run = f"seed={s}"
        own_K = mean_K + 0.01 * rng.standard_normal(intervals).cumsum()
        noise_KW = rng.standard_normal(32) + 0.02 * rng.standard_normal((intervals, 32))
        noise_KW -= noise_KW.mean(1, keepdims=True)
        for t, loss in enumerate(own_K):
            tokens = t * EVERY_TOKENS
            row = {"experiment": experiment, "run": run, "seed": s, "variant": "raw", "split": "valid", "interval": t}
            row |= {"tokens": tokens, "step": 244 * t, "loss": loss, "ppl": np.exp(loss), "token_count": 3200}
            row |= {"window_nll": 100 * (loss + noise_KW[t]), "seconds_train": 60.0 if t else np.nan}
            rows.append(row)
        step = np.arange(1, 1201)
        one = {"experiment": experiment, "run": run, "seed": s, "step": step, "tokens": 4096 * step}
        steps.append(pd.DataFrame({**one, "train_loss": 3 + 0.1 * rng.standard_normal(1200)}))
        data = {"source": "simulated", "fingerprint": "0" * 24}
        identity = {"experiment": experiment, "run": run, "seed": s, "study": "budget"}
        manifests.append({**identity, "parameters": 4_262_144, "data": data})
    return Runs({"intervals": pd.DataFrame(rows), "steps": pd.concat(steps, ignore_index=True)}, manifests)
