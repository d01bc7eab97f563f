"""``task=mixture``: sequences from the mixtures of a small and a large checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from trajlab.config.parse import parse
from trajlab.config.schema import MixtureConfig
from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.measures.sequences import mixture_sequences, prompts, write_mixture
from trajlab.terminal import say


def mixture(config: DictConfig) -> None:
    """Draw sequences from the mixtures of a small and a large checkpoint and write them to a file."""
    checked = parse(config, MixtureConfig, _problems)
    text = EvaluationText.of(checked.data, 4 * checked.prompts)
    draw_mixture(
        Path(checked.small),
        Path(checked.large),
        Path(checked.to),
        next(iter(text.documents.values())),
        checked.lambdas,
        count=checked.prompts,
        prompt_tokens=checked.prompt_tokens,
        new_tokens=checked.new_tokens,
        top_p=checked.top_p,
        seed=checked.seed,
    )


def _problems(c: MixtureConfig) -> list[str]:
    return [
        f"{key}={folder} is no folder"
        for key, folder in (("small", c.small), ("large", c.large))
        if not Path(folder).is_dir()
    ]


def draw_mixture(
    small: Path,
    large: Path,
    to: Path,
    documents: Sequence[str],
    lambdas: Sequence[Sequence[float]],
    *,
    count: int,
    prompt_tokens: int = 5,
    new_tokens: int = 50,
    top_p: float = 0.9,
    seed: int = 0,
) -> None:
    """`trajlab.measures.sequences.mixture_sequences` from two folders into a file."""
    models = [CheckpointModel.open(folder) for folder in (small, large)]
    tokenizer = models[0].tokenizer
    if tokenizer.get_vocab() != models[1].tokenizer.get_vocab():
        raise UserError(f"{small} and {large} have different tokenizers: their distributions can't be mixed")
    start = prompts(documents, tokenizer, count, prompt_tokens)
    sequences = mixture_sequences(models[0], models[1], start, lambdas, new_tokens, top_p, seed)
    write_mixture(to, sequences, tokenizer)
    say(f"{to}: {len(sequences)} sequences")
