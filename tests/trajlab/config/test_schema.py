"""Every configuration that ships composes and is accepted."""

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from tests.conftest import ROOT
from trajlab.config.parse import parse
from trajlab.config.schema import TrainConfig
from trajlab.errors import ConfigProblems

EXPERIMENTS = sorted(p.stem for p in (ROOT / "conf" / "experiment").glob("*.yaml"))
CHOICES = [
    f"{group}={path.stem}"
    for group in ("model", "schedule", "intervals", "trainer", "logger", "optimizer")
    for path in sorted((ROOT / "conf" / group).glob("*.yaml"))
]


def composed(*overrides: str) -> OmegaConf:
    with initialize_config_module("trajlab.conf", version_base="1.3"):
        return compose("config", overrides=list(overrides))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_names_itself_and_its_command(experiment: str) -> None:
    config = composed(f"experiment={experiment}")
    text = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text()
    assert f"experiment={experiment}" in text, "the head of the file shows the command that runs it"
    if config.task._target_ == "trajlab.tasks.train.train":
        assert parse(config, TrainConfig).name == experiment


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_of_a_group_is_accepted(choice: str) -> None:
    config = composed("name=mine", choice)
    if "series" in config.model:
        pytest.skip("a published series: it is evaluated, not trained (tests/trajlab/test_series.py)")
    problems: list[str] = []
    try:
        parse(config, TrainConfig)
    except ConfigProblems as e:
        problems = e.problems
    # a logger of an extra that is not installed is the only excuse
    assert all("installed" in p for p in problems)


def test_the_budget_study_is_as_published() -> None:
    config = parse(composed("experiment=tinystories_budget"), TrainConfig)
    assert config.tokens_per_step == 4096
    assert config.intervals.budget_tokens == 20_000_000
    assert config.tokenizer.vocab_size == 4096
    assert config.trainer.precision == "32-true"
