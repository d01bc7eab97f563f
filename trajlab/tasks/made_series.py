"""``experiment=checkpoint_series_small``: small models are trained, published as series of folders, and evaluated.

Everything that the study of published checkpoints needs is made here from the embedded corpus, so that it can be run
without a network: models of two architectures and sizes are trained by ``task=train``, each snapshot becomes a folder
``step{step}`` in the format of transformers, sequences are drawn from mixtures of the trained models, multiple-choice
tasks are asked from stories with one contradiction. Then ``task=evaluate`` reads the folders as it reads published ones.
Each part that is there already is left alone, so the same command goes on where it was interrupted.
"""

import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from trajlab.checkpoints.convert import run_tokenizer, write_folder
from trajlab.checkpoints.snapshots import snapshot_steps
from trajlab.config.parse import parse, parse_values, refusals
from trajlab.config.schema import EvaluateConfig, MadeSeriesConfig, TrainConfig
from trajlab.config.stored import corpus_class
from trajlab.data.documents import EvaluationText
from trajlab.data.storygrammar.stories import StoryGrammar
from trajlab.errors import UserError
from trajlab.files import publish, publish_json, remove_replaced, set_aside
from trajlab.store.layout import snapshot_path
from trajlab.tasks.evaluate import evaluate
from trajlab.tasks.mixture import draw_mixture
from trajlab.tasks.train import run_name, train, training_problems
from trajlab.terminal import say


def make_and_evaluate(config: DictConfig) -> None:
    """Train, publish and evaluate every model under ``made``."""
    checked = parse(config, MadeSeriesConfig, partial(_parts_problems, config))
    material = Path(checked.runs_dir) / f"{checked.name}_material"
    if checked.overwrite and material.exists():
        if not _is_material(material, checked.name):
            raise UserError(
                f"{material} holds no material of {checked.name} ({MARKER}); move it away before overwrite=true"
            )
        set_aside(material)
    if not material.exists():
        publish_json(material / MARKER, {"experiment": checked.name})
    remove_replaced(material, lambda aside: _is_material(aside, checked.name))
    for model in checked.made:
        run = _train(config, model)
        publish_series(run, material / model, corpus_class(config))
    tasks = make_tasks(material / "tasks", checked.task_questions)
    mixtures = {model: file for file, models in _mixtures(config, checked, material) for model in models}
    for model in checked.made:
        evaluate(_evaluation(config, model, material / model, [str(t) for t in tasks], mixtures.get(model)))


def _parts_problems(config: DictConfig, c: MadeSeriesConfig) -> list[str]:
    """Of every training and evaluation that is to come, so that the last model's mistake isn't found after the first's run."""
    found: list[str] = []
    for model in c.made:
        training, evaluation = _training(config, model), _evaluation(config, model, Path("material"), [], None)
        found += refusals(lambda: parse(training, TrainConfig, training_problems(training)))  # noqa: B023
        found += refusals(lambda: parse_values(evaluation, EvaluateConfig))  # noqa: B023
    return list(dict.fromkeys(found))


MARKER = "made.json"
"""Says of a folder of material which experiment made it; only such a folder is ever replaced."""


def _is_material(folder: Path, name: str) -> bool:
    try:
        return bool(json.loads((folder / MARKER).read_text()) == {"experiment": name})
    except (OSError, ValueError):
        return False


def _training(config: DictConfig, model: str) -> DictConfig:
    """The configuration that one of the models is trained with."""
    own = _copy(config)
    with open_dict(own):
        own.model = own.made[model]
        own.model.name = model
        own.name = f"{config.name}_training"
        own.run_keys = ["model.name"]
    return own


def _train(config: DictConfig, model: str) -> Path:
    """Train one of the models; its run's folder."""
    own = _training(config, model)
    train(own)
    checked = parse(own, TrainConfig)
    return Path(checked.runs_dir) / checked.name / run_name(own, checked.run_keys)


def publish_series(run: Path, to: Path, corpora: Iterable[str | None] = ()) -> None:
    """A folder ``step{step}`` for each snapshot of a run; those that are there stay.

    ``corpora`` are classes of corpora that the command names, see `run_tokenizer`.
    """
    absent = [(tokens, step) for tokens, step in snapshot_steps(run) if not (to / f"step{step}").is_dir()]
    encoder = run_tokenizer(run, corpora) if absent else None
    for tokens, step in absent:
        assert encoder is not None
        publish(to / f"step{step}", partial(write_folder, snapshot_path(run, tokens), encoder=encoder))


def _mixtures(config: DictConfig, checked: MadeSeriesConfig, material: Path) -> Iterator[tuple[Path, list[str]]]:
    """A file of sequences for each pair of models, with the models that it is for."""
    text = None
    for name, pair in checked.mixtures.items():
        file = material / "mixtures" / f"{name}.jsonl"
        if not file.exists():
            text = text or EvaluationText.of(checked.data, 4 * checked.mixture_prompts)
            small, large = (_last_folder(material / model) for model in pair)
            documents = next(iter(text.documents.values()))
            draw_mixture(small, large, file, documents, checked.lambdas, count=checked.mixture_prompts)
        yield file, pair


def _last_folder(series: Path) -> Path:
    return max(series.glob("step*"), key=lambda p: int(p.name.removeprefix("step")))


def _evaluation(config: DictConfig, model: str, folder: Path, tasks: list[str], mixture: Path | None) -> DictConfig:
    """The configuration that one of the models is evaluated with."""
    own = _copy(config)
    with open_dict(own):
        own.model = own.published
        own.model.name = model
        own.model.series.pattern = str(folder / "step{step}")
        own.callbacks = own.published_callbacks
        own.benchmark.tasks = tasks
        if mixture is not None and own.measures.get("sequences"):
            own.measures.sequences.mixture = str(mixture)
        for key in ("made", "published", "published_callbacks"):
            del own[key]
    return own


def _copy(config: DictConfig) -> DictConfig:
    return OmegaConf.create(OmegaConf.to_container(config, resolve=False))  # type: ignore[return-value, arg-type]


# ---- tasks


def make_tasks(folder: Path, questions: int, stories: int = 4000) -> list[Path]:
    """A ``task.json`` a kind of fact (name, object, place): which of two words goes on with a story without contradiction.

    Questions are stories of split ``test`` up to a fact's later mention, the options the fact and one that breaks it.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    paths = sorted(folder.glob("*/task.json"))
    if paths:
        return paths
    grammar = StoryGrammar()
    for story in islice(grammar.stories("test"), stories):
        try:
            broken = grammar.contradict(story)
        except ValueError:
            continue
        examples = found.setdefault(broken.broken, [])
        if len(examples) < questions and broken.original != broken.replacement:
            before = story[: broken.start].rstrip()
            options = {f" {broken.original}": 1, f" {broken.replacement}": 0}
            # alternate the order, so that a model that always takes the first option is right half of the time
            ordered = options if len(examples) % 2 else dict(reversed(options.items()))
            examples.append({"input": before, "target_scores": ordered})
        if len(found) == 3 and all(len(e) >= questions for e in found.values()):
            break
    publish(folder, lambda temporary: _write_tasks(temporary, found))
    say(f"{folder}: {', '.join(f'{len(e)} questions on a {kind}' for kind, e in sorted(found.items()))}")
    return sorted(folder.glob("*/task.json"))


def _write_tasks(folder: Path, found: dict[str, list[dict[str, Any]]]) -> None:
    for kind, examples in found.items():
        task = {
            "name": f"consistent_{kind}",
            "metrics": ["multiple_choice_grade"],
            "examples": examples,
            "example_input_prefix": "",
            "example_output_prefix": "",
            "append_choices_to_input": False,
            "few_shot_example_separator": "\n",
        }
        publish_json(folder / f"consistent_{kind}" / "task.json", task)
