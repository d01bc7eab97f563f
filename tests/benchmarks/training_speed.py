"""Training speed of the full-size model: ``python -m tests.benchmarks.training_speed``.

In one process, in many short turns, so that a machine that slows down slows all of them and a ratio is worth its second
digit: the fp32 matrix-multiply rate, trajlab's
own training step under Lightning's loop, and a compiled ``transformers`` Llama of the same shape in a plain loop.
FLOPs a token: 6·parameters + 12·layers·width·context.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from statistics import median

import lightning as L
import torch
from torch.nn.utils import clip_grad_norm_
from transformers import LlamaConfig, LlamaForCausalLM

from trajlab.models.llama import LlamaModel
from trajlab.models.llama_shape import parameter_count
from trajlab.training.language_model import LanguageModel
from trajlab.training.schedules import Constant

WINDOWS, CONTEXT = 16, 256
TOKENS = WINDOWS * CONTEXT


def matmul_rate(seconds: float) -> float:
    """GFLOP/s of a 2,048 × 2,048 product."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return rate(lambda: torch.mm(a, b), seconds) * 2 * 2048**3 / 1e9


def rate(step: Callable[[], object], seconds: float) -> float:
    """Calls a second."""
    step()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        calls += 1
    return calls / (time.perf_counter() - start)


class Timed(L.Callback):
    """Stops a Lightning run after some seconds and keeps its speed."""

    def __init__(self, seconds: float, warmup_steps: int) -> None:
        self.seconds, self.warmup_steps = seconds, warmup_steps
        self.steps_per_second = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        """Start the clock after the warm-up, stop the run when the time is over."""
        done = trainer.global_step - self.warmup_steps
        if done == 0:
            self._start = time.perf_counter()
        elif done > 0 and (elapsed := time.perf_counter() - self._start) > self.seconds:
            self.steps_per_second = done / elapsed
            trainer.should_stop = True


def trajlab_speed(seconds: float, compile: bool, micro: int | None) -> float:
    """Optimizer steps a second of `LanguageModel` in Lightning's loop."""
    module = LanguageModel(
        LlamaModel(), lambda groups: torch.optim.AdamW(groups, lr=1e-3, fused=True), Constant(10**9), TOKENS,
        micro_batch_windows=micro, gradient_clip=1.0, compile=compile,
    )  # fmt: skip
    timed = Timed(seconds, warmup_steps=2)
    trainer = L.Trainer(
        accelerator="cpu", max_steps=10**6, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[timed], min_epochs=0,
    )  # fmt: skip
    trainer.fit(module, _Batches())
    return timed.steps_per_second


class _Batches:
    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield torch.randint(0, 4096, (WINDOWS, CONTEXT + 1))


def transformers_stepper(compiled: bool) -> Callable[[], None]:
    """`LlamaForCausalLM` of the same shape, compiled or not, and its AdamW."""
    config = LlamaConfig(
        vocab_size=4096, hidden_size=256, num_hidden_layers=4, num_attention_heads=8, intermediate_size=704,
        max_position_embeddings=CONTEXT, tie_word_embeddings=True, use_cache=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    matrices, vectors = ([p for p in model.parameters() if (p.ndim >= 2) is large] for large in (True, False))
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    run = torch.compile(model) if compiled else model

    def step() -> None:
        tokens = torch.randint(0, 4096, (WINDOWS, CONTEXT))
        run(input_ids=tokens, labels=tokens).loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _summary(shares: dict[str, list[float]]) -> None:
    """Medians over the rounds, and the lowest and highest of a round's ratios."""
    print(f"\n{'over the rounds':<42} {'median':>6} {'lowest':>7} {'highest':>8}")
    ratios = {f"{name} / matrix multiply": values for name, values in shares.items()}
    for other in ("transformers", "transformers, compiled"):
        pairs = zip(shares["trajlab, compiled"], shares[other], strict=True)
        ratios[f"trajlab, compiled / {other}"] = [a / b for a, b in pairs]
    for name, values in ratios.items():
        print(f"{name:<42} {median(values):>6.2f} {min(values):>7.2f} {max(values):>8.2f}")


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--micro", type=int, default=4, help="windows in a micro-batch")
    options = parser.parse_args()
    model = LlamaModel()
    flops = 6 * parameter_count(model.config) + 12 * model.config.layers * model.config.width * CONTEXT
    print(f"{torch.get_num_threads()} threads, {flops / 1e6:.2f} MFLOP a token, load {os.getloadavg()[0]:.1f}")
    print(f"{'round':>5} {'what':<24} {'tokens/s':>9} {'GFLOP/s':>8} {'of matmul':>9}")
    hf, eager = transformers_stepper(compiled=True), transformers_stepper(compiled=False)
    shares: dict[str, list[float]] = {}
    for number in range(options.rounds):
        peak = matmul_rate(min(options.seconds, 3))
        print(f"{number:>5} {'matrix multiply':<24} {peak * 1e9 / flops:>9,.0f} {peak:>8.0f} {1:>9.2f}", flush=True)
        measured = {
            "trajlab": lambda: trajlab_speed(options.seconds, False, options.micro) * TOKENS,
            "trajlab, compiled": lambda: trajlab_speed(options.seconds, True, options.micro) * TOKENS,
            "transformers": lambda: rate(eager, options.seconds) * TOKENS,
            "transformers, compiled": lambda: rate(hf, options.seconds) * TOKENS,
        }
        for name, measure in measured.items():
            speed = measure()
            share = speed * flops / 1e9 / peak
            shares.setdefault(name, []).append(share)
            print(f"{number:>5} {name:<24} {speed:>9,.0f} {speed * flops / 1e9:>8.0f} {share:>9.2f}", flush=True)
    _summary(shares)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, all three in one process")


if __name__ == "__main__":
    main()
