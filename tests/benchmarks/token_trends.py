"""Speed of the trend tests, and how often they call a trend where there is none.

    python -m tests.benchmarks.token_trends speed
    python -m tests.benchmarks.token_trends null [tokens]
    python -m tests.benchmarks.token_trends power [tokens]

Shapes: M tokens, C checkpoints.
"""

import sys
import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.token_trends import READINGS, STARTS, classify_trends

Array = NDArray[np.float64]


def speed(tokens: int = 100_000, checkpoints: int = 154) -> pd.DataFrame:
    """Seconds for seven start points, by reading."""
    nll = np.random.default_rng(0).normal(3, 1, (tokens, checkpoints)).astype(np.float32)
    rows = []
    for reading, (test, adjust) in READINGS.items():
        wall, cpu = time.perf_counter(), time.process_time()
        for start in STARTS:
            classify_trends(nll, start, adjust=adjust, test=test)
        rows.append((reading, time.perf_counter() - wall, time.process_time() - cpu))
    return pd.DataFrame(rows, columns=["reading", "wall s", "CPU s"])


def autoregressive(tokens: int, checkpoints: int, rho: float, sd: float, seed: int) -> Array:
    """AR(1) noise (M, C) of stationary standard deviation ``sd``; a random walk of steps sd where rho is 1."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(tokens, checkpoints))
    if rho == 1:
        return sd * np.cumsum(steps, axis=1)
    noise = np.empty_like(steps)
    noise[:, 0] = steps[:, 0]
    for i in range(1, checkpoints):
        noise[:, i] = rho * noise[:, i - 1] + np.sqrt(1 - rho**2) * steps[:, i]
    return sd * noise


def null(tokens: int = 20_000, sd: float = 0.1) -> pd.DataFrame:
    """Share of tokens called upward or downward where none has a trend, by noise and reading."""
    rows = []
    for checkpoints in (20, 50, 154):
        for rho in (0.0, 0.3, 0.6, 0.9, 0.97, 1.0):
            nll = 2.5 + autoregressive(tokens, checkpoints, rho, sd, seed=1)
            rows.append({"checkpoints": checkpoints, "rho": "random walk" if rho == 1 else rho, **_called(nll)})
    return pd.DataFrame(rows)


def power(tokens: int = 20_000, sd: float = 0.1, checkpoints: int = 50) -> pd.DataFrame:
    """A tenth of the tokens has a trend of ``rise`` nats: share of them found, and false ones among all found."""
    rows = []
    for rho in (0.0, 0.6, 0.9):
        for rise in (0.1, 0.3, 1.0):
            nll = 2.5 + autoregressive(tokens, checkpoints, rho, sd, seed=2)
            moving = np.arange(tokens) < tokens // 10
            nll[moving] += np.linspace(0, rise, checkpoints)
            for reading, (test, adjust) in READINGS.items():
                trend = classify_trends(nll, adjust=adjust, test=test)["trend"].to_numpy()
                called = (trend == "upward") | (trend == "downward")
                found = (trend == "upward") & moving
                false = (called & ~found).sum() / max(called.sum(), 1)
                rows.append((rho, rise, reading, found.sum() / moving.sum(), false))
    return pd.DataFrame(rows, columns=["rho", "rise", "reading", "found", "false among found"])


def _called(nll: Array) -> dict[str, float]:
    shares = {}
    for reading, (test, adjust) in READINGS.items():
        trend = classify_trends(nll, adjust=adjust, test=test)["trend"]
        shares[reading] = float(trend.isin(["upward", "downward"]).mean())
    return shares


if __name__ == "__main__":
    parts = {"speed": speed, "null": null, "power": power}
    if len(sys.argv) < 2 or sys.argv[1] not in parts:
        sys.exit(f"which part? one of {', '.join(parts)}")
    print(parts[sys.argv[1]](*map(int, sys.argv[2:])).round(4).to_markdown(index=False))
