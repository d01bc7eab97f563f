"""A folder of many runs: how long it takes to open, to read a table of all, and to read one run's positions.

    python -m tests.benchmarks.opening_runs [runs] [intervals] [positions]

Made in a temporary folder, a part per interval as a run writes them; then once more, compacted.
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

from trajlab.analysis.load import Runs, load_runs
from trajlab.store.compaction import compact


def write(folder: Path, runs: int, intervals: int, positions: int) -> None:
    """Tables `intervals` and `positions` of every run."""
    rng = np.random.default_rng(0)
    for seed in range(runs):
        run = folder / "many" / f"seed={seed}"
        for table in ("intervals", "positions"):
            (run / "metrics" / table).mkdir(parents=True)
        manifest = {"experiment": "many", "run": run.name, "seed": seed, "status": "finished", "data": {}}
        (run / "manifest.json").write_text(json.dumps(manifest))
        for i in range(intervals):
            for table, rows in (("intervals", 1), ("positions", positions)):
                pq.write_table(
                    part(run.name, seed, i, rows, table, rng), run / "metrics" / table / f"part-{i:05d}.parquet"
                )


def part(run: str, seed: int, i: int, rows: int, table: str, rng: np.random.Generator) -> pa.Table:
    """The rows of an interval."""
    names = {"experiment": "many", "run": run, "variant": "raw", "split": "valid"}
    numbers = {"seed": seed, "interval": i, "tokens": 1000 * i, "step": i}
    same = {k: pa.array([v] * rows) for k, v in {**names, **numbers}.items()}
    nll = rng.normal(3, 1, rows)
    if table == "intervals":
        return pa.table({**same, "loss": nll, "nll_sum": nll * 1e5})
    return pa.table(
        {**same, "position": np.arange(1, rows + 1), "nll_sum": nll, "nll_sq_sum": nll**2, "count": [64] * rows}
    )


def main(runs: int = 100, intervals: int = 400, positions: int = 1024) -> None:
    """Print seconds and the process's largest memory after each step."""
    folder = Path(tempfile.mkdtemp())
    try:
        write(folder, runs, intervals, positions)
        for how in ("as written", "compacted"):
            if how == "compacted":
                timed("compacting", lambda: [compact(p.parent) for p in sorted(folder.rglob("manifest.json"))])
            stored = timed(f"{how}: opened", lambda: load_runs(folder))
            timed(f"{how}: intervals of all", lambda s=stored: len(s.intervals))
            timed(f"{how}: positions of one run", lambda s=stored: len(s.select(run="seed=1").positions))
            timed(f"{how}: mean loss by interval and position, DuckDB", lambda s=stored: by_position(s))
    finally:
        shutil.rmtree(folder)


def by_position(runs: Runs) -> int:
    """Mean loss over runs of every interval and position; how many there are."""
    query = "interval, position, sum(nll_sum) / sum(count) as loss"
    return len(runs.scan("positions").aggregate(query).fetchnumpy()["loss"])


def timed(what: str, do):  # type: ignore[no-untyped-def]
    """Do it and print what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = do()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    took = f"{time.perf_counter() - wall:.1f} s ({time.process_time() - cpu:.1f} s of CPU)"
    print(f"{what}: {took}, at most {most:.2f} GB of memory so far", flush=True)
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
