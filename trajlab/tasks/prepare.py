"""``task=prepare``: make the data of a configuration ready."""

from omegaconf import DictConfig

from trajlab.config.parse import parse
from trajlab.config.schema import PrepareConfig
from trajlab.data import tokenizer
from trajlab.data.prepare import prepare as prepare_data
from trajlab.terminal import say


def prepare(config: DictConfig) -> None:
    """Fetch, tokenise and pack what a run of this configuration needs, and say where it came from."""
    checked = parse(config, PrepareConfig, lambda c: tokenizer.problems(c.tokenizer))
    data = prepare_data(checked.data, checked.tokenizer, checked.intervals.budget_tokens)
    if data.warning:
        say(f"warning: {data.warning}")
    say(
        f"{data.source} [{data.fingerprint[:8]}]: {data.unique_tokens:,} training tokens, {data.tokenizer.get_vocab_size():,} entries"
    )
    for name, windows in data.splits.items():
        floor = data.entropy_floor.get(name)
        say(
            f"  {name}: {len(windows):,} windows of {windows.context}"
            + (f", entropy floor {floor:.4f} nats" if floor else "")
        )
