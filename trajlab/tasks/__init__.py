"""What the command line can do: one verb a file. ``conf/task`` names each."""

from hydra.utils import get_object
from omegaconf import DictConfig

from trajlab.config import schema
from trajlab.config.parse import parse_values
from trajlab.errors import ConfigProblems, UserError
from trajlab.tasks.early import problems

VALUES: dict[str, type] = {
    "trajlab.tasks.train.train": schema.TrainConfig,
    "trajlab.tasks.prepare.prepare": schema.PrepareConfig,
    "trajlab.tasks.export.export": schema.ExportConfig,
    "trajlab.tasks.evaluate.evaluate": schema.EvaluateConfig,
    "trajlab.tasks.average.average": schema.AverageConfig,
    "trajlab.tasks.mixture.mixture": schema.MixtureConfig,
    "trajlab.tasks.audit.audit": schema.AuditConfig,
    "trajlab.tasks.made_series.make_and_evaluate": schema.MadeSeriesConfig,
    "trajlab.tasks.compact.compact": schema.CompactConfig,
}
"""What each task is given, judged before the task's own module and torch with it are imported."""


def run(config: DictConfig) -> None:
    """Do what ``config.task`` names. Raises UserError where it names no task."""
    target = (config.get("task") or {}).get("_target_")
    if target is None:
        raise UserError(
            "task names nothing to do; write task=train, prepare, evaluate, audit, average, export, mixture or compact"
        )
    if target in VALUES and (found := problems(parse_values(config, VALUES[target]))):
        raise ConfigProblems(found)
    try:
        task = get_object(target)
    except (ImportError, ValueError, AttributeError) as e:
        raise UserError(
            f"task._target_={target} can't be imported ({' '.join(str(e).split())}); is its package installed?"
        ) from e
    task(config)
