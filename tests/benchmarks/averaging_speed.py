"""Offline averaging of 20 snapshots of the 4.26M model, beside copying the files.

    python -m tests.benchmarks.averaging_speed

Copying is read, write, flush and rename as for averages; the best of five tries each, since the disk is shared.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from trajlab.averaging import Exponential, Mean, Window
from trajlab.averaging.over_files import average_series
from trajlab.files import publish
from trajlab.models.llama import LlamaModel

SNAPSHOTS = 20


def main() -> None:
    """Print seconds and MB/s of each way."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        series = snapshots(root / "series")
        size = sum(path.stat().st_size for _, path in series) / 1e6
        ways: dict[str, Callable[[Path], object]] = {
            "copy": lambda out: publish(out, lambda to: copy(series, to)),
            "mean of 20, one file": lambda out: average_series(series, Mean(), out, name="x", last_only=True),
            "lawa20, one file": lambda out: average_series(series, Window(20), out, name="x", last_only=True),
            "lawa5, all 20 windows": lambda out: average_series(series, Window(5), out, name="x"),
            "ema, all 20": lambda out: average_series(series, Exponential(0.9), out, name="x"),
        }
        print(f"{size:.0f} MB in {SNAPSHOTS} files, {torch.get_num_threads()} threads")
        base = 0.0
        for label, way in ways.items():
            seconds = best(way, root / "out")
            base = base or seconds
            print(
                f"{label:24} {seconds:.3f} s  {size / seconds:5.0f} MB/s read  {base / seconds:.2f} × the copy's speed"
            )


def snapshots(folder: Path) -> list[tuple[str, Path]]:
    """Twenty different ones."""
    folder.mkdir()
    model = LlamaModel()
    for i in range(SNAPSHOTS):
        state = {name: p.detach() + 0.01 * torch.randn_like(p) for name, p in model.named_parameters()}
        save_file(state, folder / f"{i:02d}.safetensors")
    return [(path.name, path) for path in sorted(folder.iterdir())]


def copy(series: list[tuple[str, Path]], to: Path) -> None:
    """The files as they are."""
    to.mkdir()
    for label, path in series:
        shutil.copyfile(path, to / label)


def best(way: Callable[[Path], object], out: Path, tries: int = 5) -> float:
    """Seconds of the fastest try."""
    seconds = []
    for _ in range(tries):
        shutil.rmtree(out, ignore_errors=True)
        started = time.perf_counter()
        way(out)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
