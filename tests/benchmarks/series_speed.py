"""What a checkpoint of a series costs beside its forward passes: ``python -m tests.benchmarks.series_speed``.

A Llama of some 4M parameters is stored as many times as asked and evaluated by ``task=evaluate``, with few checkpoints and with
many: the difference of both is what one more checkpoint costs (opening, hashing, loading, scoring, storing), without the
start. Beside it a bare loop of forward passes over the same windows, the model loaded once and for all. Seconds on the clock,
since loading is meant to hide behind scoring.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import run_here
from tests.series_material import VOCABULARY, byte_tokenizer
from trajlab.data.documents import DocumentWindows
from trajlab.evaluation.nll import token_losses
from trajlab.models.hf import HFModel

CONTEXT, FEW, BATCH = 256, 2, 16
END = "<|endoftext|>"


def model(seed: int) -> LlamaForCausalLM:
    """Of 4.9M parameters."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
    }
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, **shape)).eval()


def texts(count: int) -> list[str]:
    """Documents of a window each."""
    return [("".join(chr(97 + (i * 7 + j * j) % 26) for j in range(CONTEXT - 1))) for i in range(count)]


def evaluated(folder: Path, name: str, checkpoints: int, documents: int) -> float:
    """Seconds of ``task=evaluate`` over the first checkpoints."""
    began = time.monotonic()
    run_here(
        "task=evaluate", "series=hf_folders", f"name={name}", "model.name=m", f"model.series.pattern='{folder}/step{{step}}'",
        "model.series.tokens_per_step=1000", f"model.series.steps={list(range(checkpoints))}", f"data.source={folder}/text.txt",
        "data.validation_fraction=1", f"data.cache_dir={folder}/cache", f"evaluation.documents={documents}",
        f"evaluation.context={CONTEXT}", f"trainer.evaluation_batch_windows={BATCH}", f"runs_dir={folder}/runs",
    )  # fmt: skip
    return time.monotonic() - began


@torch.inference_mode()
def bare(windows: DocumentWindows) -> float:
    """Seconds of the forward passes alone."""
    scored = HFModel(model(0))
    began = time.monotonic()
    for first in range(0, len(windows), BATCH):
        token_losses(scored, windows.batch(range(first, min(first + BATCH, len(windows)))))
    return time.monotonic() - began


def main() -> None:
    """Measure in turns and print medians with lowest and highest."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoints", type=int, default=10)
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder, tokenizer = Path(made), byte_tokenizer()
        (folder / "text.txt").write_text(END.join(texts(o.documents)))
        for step in range(o.checkpoints):
            model(step).save_pretrained(folder / f"step{step}")
            tokenizer.save_pretrained(folder / f"step{step}")
        windows = DocumentWindows.over(texts(o.documents), tokenizer, CONTEXT)
        bare(windows)
        rounds = []
        for r in range(o.rounds):
            few, many = (evaluated(folder, f"r{r}-{n}", n, o.documents) for n in (FEW, o.checkpoints))
            rounds.append((bare(windows), (many - few) / (o.checkpoints - FEW)))
    shares = sorted(b / e for b, e in rounds)
    print(f"{len(windows)} windows of {CONTEXT}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    print(f"a bare loop {median(b for b, _ in rounds):.2f} s, one more checkpoint {median(e for _, e in rounds):.2f} s")
    print(f"bare loop / one more checkpoint: {median(shares):.3f} [{shares[0]:.3f}, {shares[-1]:.3f}]")


if __name__ == "__main__":
    main()
