"""A table of 10⁸ token rows, made in a temporary folder: how long trends of 10⁵ tokens take, and how much memory.

    python -m tests.benchmarks.token_table [tokens] [checkpoints]

The table is that of a series, a part per checkpoint, and is removed at the end; about 1 GB on the disk.
"""

import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trajlab.analysis.checkpoint_series import probed_runs
from trajlab.analysis.load import load_runs
from trajlab.analysis.token_trends import classify_trends


def write(folder: Path, tokens: int, checkpoints: int) -> int:
    """A tenth of the tokens rises, four tenths fall; bytes on the disk."""
    manifest = {"experiment": "many", "run": "model", "seed": None, "status": "finished", "data": {"source": "made"}}
    parts = folder / "many" / "model" / "metrics" / "tokens"
    parts.mkdir(parents=True)
    (folder / "many" / "model" / "manifest.json").write_text(json.dumps(manifest))
    rng, share = np.random.default_rng(0), np.arange(tokens) / tokens
    slope = np.where(share < 0.1, 1.0, np.where(share < 0.5, -1.0, 0.0))
    names = {"experiment": "many", "run": "model", "variant": "raw", "split": "valid"}
    same = {k: pa.array([v] * tokens).dictionary_encode().cast(pa.string()) for k, v in names.items()}
    for i in range(checkpoints):
        nll = 3 + slope * i / checkpoints + rng.normal(0, 0.3, tokens)
        numbers = {"seed": None, "interval": i, "tokens": 1000 * i, "step": i}
        columns = {k: pa.array([v] * tokens, pa.int64()) for k, v in numbers.items()}
        measured = {"probe": pa.array(np.arange(tokens)), "nll": pa.array(nll.astype(np.float32))}
        pq.write_table(pa.table({**same, **columns, **measured}), parts / f"part-{i:05d}.parquet")
    return sum(p.stat().st_size for p in parts.iterdir())


def main(tokens: int = 100_000, checkpoints: int = 1000) -> None:
    """Print seconds and the process's largest memory after each step."""
    folder = Path(tempfile.mkdtemp())
    try:
        began = time.perf_counter()
        size = write(folder, tokens, checkpoints)
        told(f"{tokens * checkpoints:,} rows written, {size / 1e9:.2f} GB", began)
        began = time.perf_counter()
        runs = load_runs(folder)
        told("folder opened", began)
        began = time.perf_counter()
        [run] = probed_runs(runs)
        told(f"losses read, {run.nll_MC.shape}", began)
        began = time.perf_counter()
        trend = classify_trends(run.nll_MC, 0, test="ar1")["trend"]
        told("trends", began)
        print(trend.value_counts().to_dict())
        began = time.perf_counter()
        where = "variant = 'raw' and probe % 1000 = 0"
        rows = runs.scan("tokens").filter(where).aggregate("interval, avg(nll) as nll").order("interval").fetchall()
        told(f"DuckDB: mean loss of every thousandth probe, {len(rows)} checkpoints", began)
    finally:
        shutil.rmtree(folder)


def told(what: str, began: float) -> None:
    """A line with the time since ``began``."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what}: {time.perf_counter() - began:.1f} s, at most {most:.2f} GB of memory so far", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
