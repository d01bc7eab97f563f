"""How a run on the embedded corpus stands to its entropy floor, and what it makes of contradictions.

``python -m tests.benchmarks.storygrammar_floor runs/storygrammar_floor/seed=0``: the excess loss at each interval in
standard errors, and the loss of contradicted mentions beside the original ones under the last snapshot.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from tokenizers import Tokenizer

from trajlab.analysis.load import load_runs
from trajlab.checkpoints.snapshots import load_snapshot
from trajlab.data.corpora import EmbeddedCorpus
from trajlab.data.storygrammar.stories import Contradiction, StoryGrammar
from trajlab.data.tokenizer import end_of_text_id, train_bpe
from trajlab.evaluation.nll import token_losses
from trajlab.models.llama import LlamaModel


def excess(folder: Path) -> None:
    """Print loss − floor by interval, its standard error from the spread of windows."""
    runs = load_runs(folder)
    floor = runs.entropy_floor("valid")
    assert floor is not None, "the run was not made on the embedded corpus"
    print(
        f"entropy floor {floor:.4f} nats per token\n{'tokens':>12} {'loss':>8} {'excess':>8} {'se':>7} {'excess/se':>9}"
    )
    for row in runs.select(split="valid", variant="raw").intervals.itertuples():
        window_means = np.array(row.window_nll) / (row.token_count / len(row.window_nll))
        se = window_means.std(ddof=1) / len(window_means) ** 0.5
        print(f"{row.tokens:>12,} {row.loss:>8.4f} {row.loss - floor:>8.4f} {se:>7.4f} {(row.loss - floor) / se:>9.1f}")


def mention_loss(model: LlamaModel, tokenizer: Tokenizer, text: str, start: int, end: int) -> float:
    """Σ nll over the tokens that hold the characters start … end of a story, its beginning in the context."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    tokens = torch.tensor([[end_of_text_id(tokenizer), *encoding.ids]])
    nll_T = token_losses(model, tokens)[0].numpy()
    inside = [a < end and b > start for a, b in encoding.offsets]
    return float(nll_T[inside].sum())


def contradictions(n: int) -> Iterator[tuple[str, Contradiction]]:
    """Validation stories with one fact broken."""
    grammar = StoryGrammar()
    for i, story in enumerate(islice(grammar.stories("valid"), n)):
        yield story, grammar.contradict(story, seed=i)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--stories", type=int, default=300)
    options = parser.parse_args()
    excess(options.run)
    config = load_runs(options.run).manifests[0]["config"]
    cache = Path(config["data"]["cache_dir"]).expanduser()
    tokenizer = train_bpe(
        EmbeddedCorpus(), config["tokenizer"]["vocab_size"], config["tokenizer"]["train_bytes"], cache
    )
    model = load_snapshot(max((options.run / "snapshots").iterdir())).eval()
    differences: dict[str, list[float]] = {}
    for story, broken in contradictions(options.stories):
        told = mention_loss(model, tokenizer, story, broken.start, broken.start + len(broken.original))
        contradicted = mention_loss(model, tokenizer, broken.text, broken.start, broken.end)
        differences.setdefault(broken.broken, []).append(contradicted - told)
    print(f"\n{'broken':>8} {'stories':>7} {'rise, nats a mention':>20} {'95 % interval':>16} {'higher in':>9}")
    for kind, values in sorted(differences.items()):
        d = np.array(values)
        half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
        print(
            f"{kind:>8} {len(d):>7} {d.mean():>20.2f} {d.mean() - half:>7.2f} … {d.mean() + half:<6.2f} {(d > 0).mean():>9.1%}"
        )


if __name__ == "__main__":
    main()
