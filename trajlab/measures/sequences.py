"""Whole sequences along a series: correct, partly random, contradicted, and drawn from a mixture of two models.

`SequencePerplexity` scores the same sequences under every checkpoint (table `sequences`); `noised` and `contradicted`
make them from validation documents, `mixture_sequences` draws them from p′ ∝ max(λ_small·p_small + λ_large·p_large, 0)
(docs/methods.md §5), ``task=mixture`` writes those to a file. Shapes: B sequences, T tokens, V vocabulary.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from trajlab.data.documents import EvaluationText, TokenizedText, tokenize
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.rng import seed_of, torch_generator
from trajlab.store.tables import SEQUENCES

DECODINGS = ("greedy", "nucleus")


@dataclass(frozen=True)
class ScoredSequence:
    """A sequence to score."""

    kind: str
    """correct, random, contradicted or mixture."""
    sequence: int
    """Number of the document, or of the prompt; the same one in different kinds belongs together."""
    ids: tuple[int, ...]
    prompt: int = 1
    """Ids at the start that are given, not scored."""
    level: float | None = None
    """Random: share of tokens replaced. Mixture: λ of the small model."""
    level_large: float | None = None
    """Mixture: λ of the large model."""
    decoding: str | None = None
    """Mixture: greedy or nucleus."""


class SequencePerplexity:
    """Nll of whole sequences under a checkpoint, in nats, summed; perplexity is exp(nll_sum / token_count).

    ``documents`` of ``split`` are taken as they are, cut at ``length`` tokens; with ``levels`` of their tokens replaced
    at random; and with a fact contradicted, where the corpus can do that (StoryGrammar) or a file of JSON lines with
    ``text`` and ``contradiction`` is given. ``mixture`` is a file that ``task=mixture`` wrote.
    """

    table = "sequences"

    def __init__(
        self,
        documents: int = 64,
        length: int = 256,
        levels: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 1.0),
        split: str = "valid",
        contradictions: str | None = None,
        mixture: str | None = None,
        seed: int = 0,
        batch: int = 16,
    ) -> None:
        if any(not 0 < level <= 1 for level in levels):
            raise ValueError(f"levels are shares of tokens, above 0 and up to 1, got {list(levels)}")
        self.documents, self.length, self.levels, self.split = documents, length, list(levels), split
        self.contradictions, self.mixture, self.seed, self.batch = contradictions, mixture, seed, batch
        self._sequences: list[ScoredSequence] = []

    def prepare(self, text: EvaluationText, tokenizer: Any) -> None:
        """Make the sequences: a function of the text, the tokenizer and the settings alone."""
        if self.split not in text.documents:
            raise UserError(f"measures.sequences.split={self.split!r}: the splits are {', '.join(text.documents)}")
        documents = list(islice(text.documents[self.split], self.documents))
        found = [self._encoded(tokenizer, d) for d in documents]
        correct = [ScoredSequence("correct", i, ids) for i, ids in enumerate(found) if len(ids) > 1]
        random = [
            ScoredSequence("random", s.sequence, ids, level=level)
            for s in correct
            for level, ids in noised(s.ids, self.levels, _replaceable(tokenizer), self.seed + s.sequence)
        ]
        pairs = self._contradictions(text, documents)
        contradicted = [(i, self._encoded(tokenizer, t)) for i, t in pairs]
        # a contradiction beyond ``length`` is none
        wrong = [
            ScoredSequence("contradicted", i, ids) for i, ids in contradicted if i >= len(found) or ids != found[i]
        ]
        drawn = list(read_mixture(Path(self.mixture), tokenizer)) if self.mixture else []
        self._sequences = [*correct, *random, *wrong, *drawn]

    def rows(self, model: CheckpointModel) -> pa.Table:
        """One row per sequence."""
        texts = [TokenizedText(np.array(s.ids), np.zeros(len(s.ids), np.int64)) for s in self._sequences]
        rows = []
        for s, nll_T in zip(self._sequences, model.sequence_losses(texts, self.batch), strict=True):
            scored = nll_T[s.prompt - 1 :]
            row = asdict(s) | {"nll_sum": float(scored.double().sum()), "token_count": len(scored)}
            rows.append({name: row[name] for name in SEQUENCES.rows.names})
        return pa.Table.from_pylist(rows, schema=SEQUENCES.rows)

    def _encoded(self, tokenizer: Any, document: str) -> tuple[int, ...]:
        return tuple(tokenize(tokenizer, document).ids_N[: self.length].tolist())

    def _contradictions(self, text: EvaluationText, documents: list[str]) -> Iterator[tuple[int, str]]:
        if self.contradictions is not None:
            yield from enumerate(row["contradiction"] for row in _json_lines(Path(self.contradictions)))
            return
        grammar: Any = getattr(text.corpora.get(self.split), "grammar", None)
        for i, document in enumerate(documents) if grammar is not None else ():
            try:
                yield i, grammar.contradict(document, self.seed).text
            except ValueError:
                continue  # nothing in this one can be contradicted


# ---- noise


def noised(
    ids: tuple[int, ...], levels: Sequence[float], pool: np.ndarray, seed: int
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """The sequence with a share of its tokens replaced by others of the pool, uniformly; the first token stays.

    The places are nested: what is replaced at a low level is replaced by the same token at a higher one.
    """
    generator = np.random.default_rng([seed_of("sample", seed), len(ids)])
    original = np.array(ids)
    order = generator.permutation(len(ids) - 1) + 1
    replaced = pool[generator.integers(len(pool), size=len(ids))]
    same = replaced == original
    replaced[same] = pool[(np.searchsorted(pool, replaced[same]) + 1) % len(pool)]
    for level in levels:
        places = order[: round(level * len(order))]
        changed = original.copy()
        changed[places] = replaced[places]
        yield level, tuple(changed.tolist())


def _replaceable(tokenizer: Any) -> np.ndarray:
    """Ids that stand for text, sorted."""
    return np.array(sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)))


# ---- mixtures of a small and a large model


def mixed(small_BV: Tensor, large_BV: Tensor, lambda_small: float, lambda_large: float) -> Tensor:
    """p′ ∝ max(λ_small·p_small + λ_large·p_large, 0), of shape (B, V).

    Where nothing is positive, all mass goes to the largest entry **(ours)**.
    """
    weight_BV = lambda_small * small_BV + lambda_large * large_BV
    positive_BV = weight_BV.clamp(min=0)
    total_B1 = positive_BV.sum(-1, keepdim=True)
    certain_BV = torch.zeros_like(weight_BV).scatter_(-1, weight_BV.argmax(-1, keepdim=True), 1.0)
    return torch.where(total_B1 > 0, positive_BV / total_B1.clamp(min=1e-38), certain_BV)


def nucleus(p_BV: Tensor, top_p: float) -> Tensor:
    """The smallest set of most likely entries whose mass reaches ``top_p``, renormalised (Holtzman et al. 2020)."""
    sorted_BV, order_BV = torch.sort(p_BV, dim=-1, descending=True, stable=True)
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    kept_BV = torch.where(before_BV < top_p, sorted_BV, 0.0)
    kept_BV = kept_BV / kept_BV.sum(-1, keepdim=True)
    return torch.zeros_like(p_BV).scatter_(-1, order_BV, kept_BV)


@torch.no_grad()
def generate_mixture(
    small: CheckpointModel,
    large: CheckpointModel,
    prompts_BT: Tensor,
    lambda_small: float,
    lambda_large: float,
    new_tokens: int = 50,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue the prompts with the mixture: greedily where ``top_p`` is None, else sampled from the nucleus.

    All ids, (B, T + new_tokens). An end-of-text token doesn't stop it. Arithmetic on probabilities is float64.
    """
    ids_BT, caches = prompts_BT, [None, None]
    step_BT = prompts_BT
    for _ in range(new_tokens):
        probabilities = []
        for number, model in enumerate((small, large)):
            out = model.hf(
                input_ids=step_BT.to(next(model.lm.parameters()).device),
                past_key_values=caches[number],
                use_cache=True,
            )
            caches[number] = out.past_key_values
            probabilities.append(out.logits[:, -1].cpu().double().softmax(-1))
        V = min(p.shape[-1] for p in probabilities)  # heads may be padded to different sizes
        p_BV = mixed(probabilities[0][:, :V], probabilities[1][:, :V], lambda_small, lambda_large)
        if top_p is None:
            step_BT = p_BV.argmax(-1, keepdim=True)
        else:
            step_BT = torch.multinomial(nucleus(p_BV, top_p), 1, generator=generator)
        ids_BT = torch.cat([ids_BT, step_BT], dim=1)
    return ids_BT


def mixture_sequences(
    small: CheckpointModel,
    large: CheckpointModel,
    prompts_BT: Tensor,
    lambdas: Sequence[Sequence[float]],
    new_tokens: int = 50,
    top_p: float = 0.9,
    seed: int = 0,
) -> list[ScoredSequence]:
    """Continuations of every prompt at each (λ_small, λ_large), greedy and nucleus."""
    found = []
    for lambda_small, lambda_large in lambdas:
        for decoding in DECODINGS:
            generator = torch_generator("sample", seed)
            p = None if decoding == "greedy" else top_p
            ids_BT = generate_mixture(small, large, prompts_BT, lambda_small, lambda_large, new_tokens, p, generator)
            found += [
                ScoredSequence("mixture", i, tuple(ids), prompts_BT.shape[1], lambda_small, lambda_large, decoding)
                for i, ids in enumerate(ids_BT.tolist())
            ]
    return found


def mixture_text(sequences: Sequence[ScoredSequence], tokenizer: Any) -> str:
    """JSON lines: each sequence with its ids and, for people, its text."""
    return "".join(json.dumps(asdict(s) | {"text": tokenizer.decode(list(s.ids))}) + "\n" for s in sequences)


def is_mixture(path: Path) -> bool:
    """Whether a file's first line is one of `mixture_text`'s."""
    try:
        with path.open("rb") as file:
            row = json.loads(file.readline(MOST_OF_A_LINE))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(row, dict) and {f.name for f in fields(ScoredSequence)} | {"text"} == set(row)


MOST_OF_A_LINE = 10_000_000
"""Bytes that are read of a file that may be anything."""


def read_mixture(path: Path, tokenizer: Any) -> Iterator[ScoredSequence]:
    """What `mixture_text` made. Raises UserError where the file is absent or its ids belong to another tokenizer."""
    for row in _json_lines(path):
        text = row.pop("text")
        if tokenizer.decode(row["ids"]) != text:
            raise UserError(
                f"measures.sequences.mixture={path} was drawn with another tokenizer; make it again (task=mixture)"
            )
        yield ScoredSequence(**(row | {"ids": tuple(row["ids"])}))


def prompts(documents: Sequence[str], tokenizer: Any, count: int, length: int = 5) -> Tensor:
    """The first ``length`` tokens of each of ``count`` documents that are longer, a begin-of-text token included."""
    encoded = (tokenize(tokenizer, d).ids_N for d in documents)
    found = [ids[:length] for ids in encoded if len(ids) > length]
    if not found:
        raise UserError(f"no document is longer than the {length} tokens of a prompt")
    return torch.from_numpy(np.stack(found[:count]))


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; make it with task=mixture, or write null")
    with path.open(encoding="utf8") as file:
        yield from (json.loads(line) for line in file if line.strip())
