"""``task=mixture``: sequences from the mixtures of a small and a large checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from trajlab.config.parse import parse
from trajlab.config.schema import MixtureConfig
from trajlab.data.documents import EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.files import publish
from trajlab.measures.sequences import is_mixture, mixture_sequences, mixture_text, prompts
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
        overwrite=checked.overwrite,
    )


def _problems(c: MixtureConfig) -> list[str]:
    folders = {"small": c.small, "large": c.large}
    absent = [f"{key}={folder} is no folder" for key, folder in folders.items() if not Path(folder).is_dir()]
    if Path(c.to).exists() and not is_mixture(Path(c.to)):
        return [*absent, f"to={c.to} holds something else than a mixture that trajlab drew; give another file"]
    return absent


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
    overwrite: bool = False,
) -> None:
    """`trajlab.measures.sequences.mixture_sequences` from two folders into a file.

    Raises UserError where the file holds other sequences, unless ``overwrite``.
    """
    models = [CheckpointModel.open(folder) for folder in (small, large)]
    tokenizer = models[0].tokenizer
    if tokenizer.get_vocab() != models[1].tokenizer.get_vocab():
        raise UserError(f"{small} and {large} have different tokenizers: their distributions can't be mixed")
    start = prompts(documents, tokenizer, count, prompt_tokens)
    sequences = mixture_sequences(models[0], models[1], start, lambdas, new_tokens, top_p, seed)
    text = mixture_text(sequences, tokenizer)
    if to.exists() and not overwrite and to.read_text() != text:
        raise UserError(f"to={to} holds other sequences already; give another file, or overwrite=true to replace them")
    publish(to, lambda temporary: temporary.write_text(text))
    say(f"{to}: {len(sequences)} sequences")
