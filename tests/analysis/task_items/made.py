"""Rows of table `task_items`, made up: two models that share the difficulty of the questions."""

import numpy as np
import pandas as pd

from trajlab.analysis.load import Runs

CHECKPOINTS = 12
TOKENS = np.arange(CHECKPOINTS) * 1000


def rows(run: str, margin_MC: np.ndarray, task: str = "t", first_item: int = 0) -> pd.DataFrame:
    """Two options each; the right one, at a place that changes, is ``margin`` nats per token ahead of the other."""
    found = []
    for m, margins in enumerate(margin_MC):
        gold = m % 2
        for c, margin in enumerate(margins):
            own = -3.0 * (2 + m % 3) + margin * (2 + m % 3)  # nats over 2 to 4 tokens
            options = [own, -3.0 * 5][:: 1 if gold == 0 else -1]
            sizes = [2 + m % 3, 5][:: 1 if gold == 0 else -1]
            found.append(
                {
                    "experiment": "e", "run": run, "seed": None, "interval": c, "step": c, "tokens": 1000 * c,
                    "task": task, "item": first_item + m, "digest": f"{task}{first_item + m}", "gold": gold,
                    "gold_log_likelihood": own, "correct": float(margin > 0), "chance": 0.5,
                    "option_log_likelihoods": np.array(options), "option_tokens": np.array(sizes),
                    "option_bytes": np.array(sizes) * 4,
                }
            )  # fmt: skip
    return pd.DataFrame(found)


def learning(seed: int, questions: int = 40, ahead: float = 0.0) -> np.ndarray:
    """Margins of questions that are learned one after another, the same order in every model."""
    difficulty = np.linspace(2, CHECKPOINTS + 4, questions)[:, None]
    noise = 0.3 * np.random.default_rng(seed).standard_normal((questions, CHECKPOINTS))
    return np.asarray(np.clip(np.arange(CHECKPOINTS) + ahead - difficulty, -3, 3) + noise)


def runs() -> Runs:
    """Two models on two tasks, with losses."""
    frames, intervals = [], []
    for seed, (run, ahead) in enumerate({"small": 0.0, "large": 4.0}.items()):
        margin_MC = learning(seed, ahead=ahead)
        frames += [rows(run, margin_MC[::2]), rows(run, margin_MC[1::2], "u")]
        for c in range(CHECKPOINTS):
            loss = 5.0 - 0.2 * (c + ahead)
            one = {"experiment": "e", "run": run, "seed": None, "variant": "raw", "split": "valid", "interval": c}
            intervals.append({**one, "step": c, "tokens": 1000 * c, "loss": loss, "ppl": np.exp(loss)})
    manifests = [
        {"experiment": "e", "run": r, "seed": None, "parameters": p} for r, p in (("large", 10**8), ("small", 10**6))
    ]
    return Runs({"task_items": pd.concat(frames, ignore_index=True), "intervals": pd.DataFrame(intervals)}, manifests)
