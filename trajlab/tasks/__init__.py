"""What the command line can do: one verb a file. ``conf/task`` names each."""

from hydra.utils import get_object
from omegaconf import DictConfig


def run(config: DictConfig) -> None:
    """Do what ``config.task`` names."""
    get_object(config.task._target_)(config)
