"""A task: a verb of the command line, a function of the composed configuration."""

from omegaconf import DictConfig

from trajlab.config.parse import parse
from trajlab.config.schema import PrepareConfig
from trajlab.data.prepare import prepare
from trajlab.terminal import say


def longest_words(config: DictConfig) -> None:
    """Print the ten longest entries of the vocabulary that a configuration would train with."""
    checked = parse(config, PrepareConfig)  # raises one error with every problem that the configuration has
    data = prepare(checked.data, checked.tokenizer, checked.intervals.budget_tokens)
    entries = sorted(data.tokenizer.get_vocab(), key=len, reverse=True)
    say(f"{data.source}: {' '.join(entries[:10])}")
