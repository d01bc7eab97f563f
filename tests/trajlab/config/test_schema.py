"""Every configuration that ships composes and is accepted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_module
from hydra.utils import get_object
from omegaconf import DictConfig

from tests.conftest import ROOT
from trajlab.config.parse import parse
from trajlab.config.schema import STUDIES, EvaluateConfig, MadeSeriesConfig, TrainConfig
from trajlab.errors import ConfigProblems
from trajlab.tasks.train import training_problems

EXPERIMENTS = sorted(p.stem for p in (ROOT / "conf" / "experiment").glob("*.yaml"))
TASKS = {
    "trajlab.tasks.train.train": TrainConfig,
    "trajlab.tasks.evaluate.evaluate": EvaluateConfig,
    "trajlab.tasks.made_series.make_and_evaluate": MadeSeriesConfig,
}
GIVEN = {
    "tokenizer=existing": ["tokenizer.path=tokenizer.json", "tokenizer.vocab_size=300"],
    "data=text": ["data.source=text.txt"],
    "series=hf": ["model.name=a", "model.series.repo=a/b", "model.series.tokens_per_step=1"],
    "series=hf_folders": ["model.name=a", "model.series.pattern='{step}'", "model.series.tokens_per_step=1"],
    "series=opt": ["model.series.pattern='{step}'"],
    "series=trajlab_run": ["model.name=a", "model.series.run=a"],
    "benchmark=bigbench": ["benchmark.tasks=[a]"],
    "benchmark=lm_eval": ["benchmark.tasks=[a]"],
}
"""What a choice leaves to its user."""
TRAINED = ("model", "data", "tokenizer", "loss", "optimizer", "schedule", "intervals", "trainer", "logger")
EVALUATED = ("series", "benchmark", "averaging")


def choices(groups: tuple[str, ...]) -> list[str]:
    return [f"{g}={p.stem}" for g in groups for p in sorted((ROOT / "conf" / g).glob("*.yaml"))]


def composed(*overrides: str) -> DictConfig:
    with initialize_config_module("trajlab.conf", version_base="1.3"):
        return compose("config", overrides=list(overrides))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_names_itself_and_its_command(experiment: str) -> None:
    given = ["model.series.pattern='{step}'"] if experiment == "opt_trajectory" else []
    config = composed(f"experiment={experiment}", *given)
    text = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text()
    assert f"experiment={experiment}" in text, "the head of the file shows the command that runs it"
    assert parse(config, TASKS[config.task._target_]).name == experiment
    assert config.study in (None, *STUDIES)


@pytest.mark.parametrize("choice", choices(TRAINED))
def test_every_choice_of_a_group_is_accepted(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")  # nobody need be logged in there
    config = composed("name=mine", choice, *GIVEN.get(choice, []))
    # the file of the first stands on no machine, the GPU of the second on few
    missing = choice == "tokenizer=existing" or (choice == "trainer=gpu" and not torch.cuda.is_available())
    checked = parse(config, TrainConfig, *([] if missing else [training_problems(config)]))
    assert checked.name == "mine"


def targets(node: Any) -> Iterator[str]:
    """Every ``_target_`` of a YAML file, however deep."""
    if isinstance(node, dict):
        yield from (v for k, v in node.items() if k == "_target_")
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from targets(child)


@pytest.mark.parametrize("file", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_target_of_every_file_is_there(file: Path) -> None:
    for target in targets(yaml.safe_load(file.read_text())):
        assert callable(get_object(target)), target


@pytest.mark.parametrize("choice", choices(EVALUATED))
def test_every_choice_for_a_series_is_accepted(choice: str) -> None:
    of = [] if choice.startswith("series=") else ["series=pythia"]
    checked = parse(composed("task=evaluate", "name=mine", *of, choice, *GIVEN.get(choice, [])), EvaluateConfig)
    assert checked.name == "mine"


def test_the_catalogue_lands_at_model() -> None:
    config = composed("experiment=pythia_trajectory", "model.size=410m", "model.series.steps=[0,1]")
    assert config.model.name == "pythia-410m"
    assert config.model.series.repo == "EleutherAI/pythia-410m"
    assert "width" not in config.model


def test_the_small_preset_is_overridden_by_its_experiment() -> None:
    small = composed("experiment=checkpoint_series_small")
    assert small.trainer.evaluation_batch_windows == 32
    assert (small.tokenizer.vocab_size, small.trainer.threads) == (512, 1)


def test_the_problems_of_every_level_are_told_at_once() -> None:
    wrong = [
        "task=evaluate", "name=mine", "series=pythia", "model.remote_code=other", "evaluation.context=8",
        "evaluation.stride=9", "data.validation_fraction=1.5",
    ]  # fmt: skip
    with pytest.raises(ConfigProblems) as e:
        parse(composed(*wrong), EvaluateConfig)
    assert [p.split("=")[0] for p in e.value.problems] == [
        "data.validation_fraction",
        "model.remote_code",
        "evaluation.stride",
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.heads=3", "model .*3 heads"),
        ("optimizer.lr=-1", "optimizer .*learning rate"),
        ("optimizer.betas=0.9", "optimizer"),
        ("schedule.warmup_tokens=99_000_000", "schedule .*below the budget"),
        ("intervals.every_tokens=32", "one optimizer step"),
        ("tokenizer.path=no/such.json", "no such file"),
        ("trainer.gradient_clip=nan", "finite"),
        ("study=budgets", "study='budgets' must be one of budget"),
        ("data.window_offset=any", "must be one of random, fixed"),
        ("data.source={n:1}", "data.source"),
        ("data.validation_fraction=1", "leaves nothing to train on"),
    ],
)
def test_a_bad_value_is_found_without_a_corpus(override: str, said: str) -> None:
    config = composed("experiment=tinystories_budget_small", "data.source=no/such/corpus", override)
    with pytest.raises(ConfigProblems, match=said):
        parse(config, TrainConfig, training_problems(config))


def test_the_budget_study_is_as_published() -> None:
    config = parse(composed("experiment=tinystories_budget"), TrainConfig)
    assert config.tokens_per_step == 4096
    assert config.intervals.budget_tokens == 20_000_000
    assert config.tokenizer.vocab_size == 4096
    assert config.trainer.precision == "32-true"
