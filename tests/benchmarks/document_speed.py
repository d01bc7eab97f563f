"""Documents scored by length against documents padded to the longest of all.

    python -m tests.benchmarks.document_speed [--tries 3]

A Llama of 4.26M parameters, documents whose padded windows are empty to 41 % (the share that real stories of one corpus
showed). Both ways take turns; the thread's own processor time of the best try counts. The tables have to be the same.
"""

import argparse
import time
from typing import cast

import numpy as np
import pyarrow as pa
import torch

from tests.series_material import byte_tokenizer
from trajlab.data.documents import DocumentWindows
from trajlab.evaluation.engine import EvaluationEngine, Windows
from trajlab.models.llama import LlamaModel
from trajlab.protocols import Interval


class Padded:
    """The same windows without their lengths, so that each batch is as long as the longest of all."""

    def __init__(self, windows: DocumentWindows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def batch(self, windows: np.ndarray | range) -> torch.Tensor:
        """As the windows do it."""
        return self.windows.batch(windows)

    def mask(self, windows: np.ndarray | range) -> torch.Tensor:
        """As the windows do it."""
        return self.windows.mask(windows)


def documents(count: int, context: int, empty: float = 0.41, seed: int = 0) -> list[str]:
    """Random texts of up to ``context`` bytes whose padded windows are empty to that share."""
    rng = np.random.default_rng(seed)
    sizes = np.clip(rng.lognormal(np.log(context * (1 - empty) * 0.97), 0.45, count), 8, context).astype(int)
    sizes[0] = context
    return ["".join(map(chr, rng.integers(97, 123, size))) for size in sizes]


def sums(model: LlamaModel, windows: Windows) -> tuple[float, np.ndarray]:
    """Seconds of this thread, and the sum of each window's losses."""
    found: list[torch.Tensor] = []

    class Sums:
        table = "sums"

        def begin(self, interval: Interval, variant: str, split: str) -> None: ...

        def update(self, nll_BT: torch.Tensor, mask_BT: torch.Tensor, tokens_BT: torch.Tensor) -> None:
            found.append((nll_BT * mask_BT).double().sum(1))

        def rows(self) -> pa.Table:
            return pa.table({"x": [0]})

    started = time.thread_time()
    EvaluationEngine({"v": windows}, 8).evaluate(Interval(0, 0, 0, 0), model, [Sums()])
    return time.thread_time() - started, torch.cat(found).numpy()


def main() -> None:
    """Print the share of padding, both times and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--count", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    windows = DocumentWindows.over(documents(options.count, 256), byte_tokenizer(), 256, layout="documents")
    model = LlamaModel(vocab_size=4096, width=192, layers=6, heads=6, hidden=512, context=256).eval()
    empty = 1 - windows.lengths.sum() / (len(windows) * windows.context)
    best = {"sorted": np.inf, "padded": np.inf}
    results = {}
    for _ in range(options.tries):
        for name, own in (("padded", cast(Windows, Padded(windows))), ("sorted", windows)):
            seconds, results[name] = sums(model, own)
            best[name] = min(best[name], seconds)
    apart = float(np.abs(results["sorted"] - results["padded"]).max() / windows.lengths.mean())
    print(f"{empty:.0%} padding: padded {best['padded']:.2f} s, sorted {best['sorted']:.2f} s, "
          f"{best['padded'] / best['sorted']:.2f} times as fast; largest difference {apart:.1e} nats per token")  # fmt: skip


if __name__ == "__main__":
    main()
