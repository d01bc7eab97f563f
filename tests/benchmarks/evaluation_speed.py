"""What evaluation costs beside its forward passes: ``python -m tests.benchmarks.evaluation_speed [small|full]``.

In short turns in one process: a bare loop of forward passes and losses over a validation split, the evaluation engine with
the consumers of every run (`IntervalTelemetry`, `PositionLoss`), and the storing of their rows; then a few training steps,
which say what share of an interval's training the difference is. Seconds of the processor, so that other work on the machine
changes little; ratios are of the same turn.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from trajlab.callbacks.interval_telemetry import IntervalTelemetry
from trajlab.callbacks.position_loss import PositionLoss
from trajlab.data.packed import PackedWindows
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import TokenSchedule
from trajlab.evaluation.nll import mean_loss, token_losses
from trajlab.models.llama import LlamaModel
from trajlab.protocols import Interval
from trajlab.store.run_store import RunStore

SMALL = {"vocab_size": 512, "width": 64, "layers": 2, "heads": 4, "hidden": 176, "context": 64}
STUDIES = {"small": (SMALL, 256, 64, 50, 16), "full": ({}, 128, 16, 244, 4)}
"""Of the small twin and the budget study: shape, windows of validation, windows of a batch of evaluation, steps of an
interval, windows of a micro-batch. The full study's validation is cut to 128 windows."""
WINDOWS_PER_STEP = 16


def processor_seconds(do: Callable[[], object]) -> float:
    """Seconds of the processor that it takes."""
    began = time.process_time()
    do()
    return time.process_time() - began


def training_step(model: LlamaModel, micro: int) -> Callable[[], None]:
    """An optimizer step in micro-batches."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    context = model.config.context

    def step() -> None:
        tokens_BS = torch.randint(0, model.vocab_size, (WINDOWS_PER_STEP, context + 1))
        for part_BS in tokens_BS.split(micro):
            mean_loss(model.hidden(part_BS[:, :-1]), model.head_weight, part_BS[:, 1:]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """Measure in turns and print medians with lowest and highest."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study", choices=STUDIES, nargs="?", default="small")
    parser.add_argument("--rounds", type=int, default=10)
    o = parser.parse_args()
    shape, count, batch, steps_each, micro = STUDIES[o.study]
    model = LlamaModel(torch.Generator().manual_seed(0), **shape)
    stream = np.random.default_rng(0).integers(0, model.vocab_size, count * model.config.context + 1).astype(np.uint16)
    windows = PackedWindows.over(stream, model.config.context)
    engine, numbers = EvaluationEngine({"valid": windows}, batch), range(len(windows))
    step, rounds = training_step(model, micro), []
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore.below(folder, "speed", "seed=0", 0)
        store.update_manifest(status="running")
        context = RunContext(
            store, TokenSchedule([0, 1 << 40], 1024), engine, token_bytes_V=np.ones(model.vocab_size, np.int64)
        )
        consumers = [IntervalTelemetry().bind(context), PositionLoss()]

        def bare() -> None:
            for first in numbers[::batch]:
                token_losses(model, windows.batch(numbers[first : first + batch]))

        def stored(at: Interval) -> None:
            found: dict[str, pa.Table] = engine.evaluate(at, model, consumers)
            for table, rows in found.items():
                store.write(table, at, rows)

        for number in range(o.rounds + 1):
            at = Interval(number, 1024 * number, 1024 * number, number)
            waits = [processor_seconds(do) for do in (bare, lambda: engine.evaluate(at, model, consumers))]  # noqa: B023
            rounds.append([*waits, processor_seconds(lambda: stored(at)), processor_seconds(step)])  # noqa: B023
        parts = len(list(Path(folder).rglob("*.parquet")))
    rounds = rounds[1:]  # the first warms up
    print(
        f"{o.study}: {len(windows)} windows, {parts} parts written, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    )
    shares = {
        "bare loop / engine with consumers": [b / e for b, e, _, _ in rounds],
        "bare loop / engine, consumers and storing": [b / s for b, _, s, _ in rounds],
        "beyond the forward passes / an interval's training": [(s - b) / (steps_each * t) for b, _, s, t in rounds],
    }
    for name, values in shares.items():
        print(f"{name:<52} {median(values):>6.3f} [{min(values):.3f}, {max(values):.3f}]")


if __name__ == "__main__":
    main()
