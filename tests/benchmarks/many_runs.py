"""A folder of many runs as a sweep leaves it, made up and written through the store, and how long its report takes.

python -m tests.benchmarks.many_runs FOLDER --rates 16 --seeds 6 --report
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from trajlab.protocols import Interval
from trajlab.store.manifest import now
from trajlab.store.run_store import RunStore

EXPERIMENT = "many_runs"
WINDOWS, CONTEXT = 64, 32


def write_runs(
    folder: Path, rates: int = 16, seeds: int = 6, *, intervals: int = 21, steps_each: int = 50, positions: bool = True
) -> int:
    """``rates`` learning rates × ``seeds`` runs of the budget study's shape below ``folder``; how many there are.

    A middle rate is best; a higher one turns earlier and rises further. Tables as training writes them: intervals with the
    windows' losses, steps, positions, a part for each interval.
    """
    lrs = np.geomspace(1e-4, 3e-2, rates) if rates > 1 else [1e-3]
    for place, lr in enumerate(lrs):
        for seed in range(seeds):
            run = f"seed={seed},optimizer.lr={lr:.3g}" if rates > 1 else f"seed={seed}"
            store = RunStore.below(folder, EXPERIMENT, run, seed)
            rng = np.random.default_rng([place, seed])
            _one_run(store, float(lr), place / max(rates - 1, 1), intervals, steps_each, positions, rng)
    return rates * seeds


def _one_run(
    store: RunStore, lr: float, rate: float, intervals: int, steps_each: int, positions: bool, rng: np.random.Generator
) -> None:
    """``rate`` runs from 0, the lowest, to 1."""
    budget = {"study": "budget", "parameters": 133_440, "git_commit": "0" * 40}
    config = {"optimizer": {"lr": lr}, "intervals": {"budget_tokens": 51_200 * (intervals - 1)}}
    data = {"source": "made up", "fingerprint": "0" * 24, "warning": None, "entropy_floor": {"valid": 1.2}}
    store.update_manifest(**budget, config=config, data=data, status="running", started=now())
    loss_K = _curve(intervals, rate) + 0.004 * rng.standard_normal(intervals).cumsum() + 0.02 * rng.standard_normal()
    window_KW = rng.standard_normal(WINDOWS) + 0.02 * rng.standard_normal((intervals, WINDOWS))
    for t in range(intervals):
        at = Interval(t, 51_200 * t, 51_200 * t, steps_each * t)
        store.write(
            "intervals", at, _interval_row(at, float(loss_K[t]), window_KW[t] - window_KW[t].mean(), lr, intervals)
        )
        if t:
            store.write("steps", at, _step_rows(at, float(loss_K[t]) - 0.3, steps_each, lr, rng))
        if positions:
            store.write("positions", at, _position_rows(float(loss_K[t]), rng))
    store.update_manifest(status="finished", finished=now())


def _curve(intervals: int, rate: float) -> np.ndarray:
    """A fall from ln 512 and, for high rates, a turn."""
    seen = np.linspace(0, 1, intervals)
    fall = (6.24 - 2.3) * np.exp(-seen * (6 + 30 * rate)) + 2.3 + (rate - 0.5) ** 2
    return np.asarray(fall + 1.2 * rate * np.clip(seen - 0.7 + 0.6 * rate, 0, None))


def _interval_row(at: Interval, loss: float, apart_W: np.ndarray, lr: float, intervals: int) -> pa.Table:
    windows = CONTEXT * (loss + apart_W)
    row = {"variant": "raw", "split": "valid", "mark_tokens": at.tokens, "epoch": at.tokens / 32_768}
    row |= {"unique_tokens": min(at.tokens, 32_768), "nll_sum": windows.sum(), "nll_sq_sum": 3 * windows.sum()}
    row |= {"token_count": WINDOWS * CONTEXT, "window_nll": windows.tolist(), "byte_count": 4 * WINDOWS * CONTEXT}
    row |= {"loss": loss, "ppl": np.exp(loss), "bits_per_byte": loss / np.log(2) / 4}
    trained = bool(at.index)
    row |= {
        "train_loss": loss - 0.3 - 0.5 * at.index / intervals if trained else None,
        "grad_norm": 1.0 if trained else None,
    }
    row |= {"lr": lr if trained else None, "seconds_train": 2.5 if trained else None}
    row |= {"tokens_per_second": 20_000.0 if trained else None, "seconds_eval": 0.25}
    return pa.Table.from_pylist([row])


def _step_rows(at: Interval, loss: float, steps: int, lr: float, rng: np.random.Generator) -> pa.Table:
    step = np.arange(at.step - steps + 1, at.step + 1)
    noise = 0.1 * rng.standard_normal(steps)
    columns = {"step": step, "tokens": 1024 * step, "train_loss": loss + noise, "grad_norm": np.ones(steps)}
    return pa.table({**columns, "lr": np.full(steps, lr), "seconds": 0.05 * np.ones(steps)})


def _position_rows(loss: float, rng: np.random.Generator) -> pa.Table:
    place = np.arange(1, CONTEXT + 1)
    nll = WINDOWS * (loss + 1 / place - np.mean(1 / place) + 0.02 * rng.standard_normal(CONTEXT))
    columns = {"position": place, "nll_sum": nll, "nll_sq_sum": 3 * nll, "count": np.full(CONTEXT, WINDOWS)}
    words = {"variant": ["raw"] * CONTEXT, "split": ["valid"] * CONTEXT}
    return pa.table({**words, **columns})


def timed_report(folder: Path, out: Path) -> pd.Series:
    """Reads the folder and writes its report: seconds of this thread's processor time for each, size of the page in MB."""
    from trajlab.analysis.load import load_runs
    from trajlab.analysis.report import write_report

    start = time.thread_time()
    runs = load_runs(folder)
    read = time.thread_time()
    page = write_report(runs, out, f"Training trajectories: {folder.name}", command="report")
    written = time.thread_time()
    sizes = {"runs": len(runs.manifests), "page_mb": page.stat().st_size / 1e6}
    return pd.Series({"read_s": read - start, "report_s": written - read, "both_s": written - start, **sizes})


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rates", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--report", action="store_true", help="write the report and say how long it took")
    options = parser.parse_args()
    if not options.folder.exists():
        print(write_runs(options.folder, options.rates, options.seeds), "runs written")
    if options.report:
        print(timed_report(options.folder, options.folder / "report").round(2).to_string())


if __name__ == "__main__":
    main()
