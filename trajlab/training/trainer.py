"""From a configuration to a module and a Trainer."""

import logging
import warnings
from collections.abc import Mapping

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from trajlab.config.build import build, build_all
from trajlab.config.schema import TrainConfig
from trajlab.config.technical import TECHNICAL_KEYS
from trajlab.data.prepare import PreparedData
from trajlab.errors import UserError
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.intervals import TokenSchedule
from trajlab.evaluation.members import build_members
from trajlab.rng import seed_of
from trajlab.training.compiling import compiled
from trajlab.training.evaluation_driver import EvaluationDriver
from trajlab.training.language_model import LanguageModel
from trajlab.training.loggers import RunLogger
from trajlab.training.metric_log import MetricLog
from trajlab.training.position_weights import position_weights
from trajlab.training.stopping import AgreeOnSignal, StopOnDivergence, StopOnSignal
from trajlab.training.team import Team


def build_module(
    config: DictConfig, checked: TrainConfig, data: PreparedData, tokens: int, stored: Mapping[str, object]
) -> LanguageModel:
    """The model, initialised from the run's ``init`` generator, and how it is trained for ``tokens``.

    ``stored`` is the run's manifest as far as there is one: a run that is resumed stays compiled, or eager, as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("init", checked.seed_for("init")))
        model = build(config.model, "model")
    if (entries := data.tokenizer.get_vocab_size()) > model.vocab_size:
        raise UserError(
            f"the tokenizer has {entries:,} entries, model.vocab_size={model.vocab_size:,}; "
            "a model needs an entry for each token: raise model.vocab_size or lower tokenizer.vocab_size"
        )
    trainer, parameters = checked.trainer, sum(p.numel() for p in model.parameters())
    return LanguageModel(
        model,
        build(config.optimizer, "optimizer"),
        build(config.schedule, "schedule"),
        checked.tokens_per_step,
        micro_batch_windows=trainer.micro_batch_windows,
        gradient_clip=trainer.gradient_clip,
        compile=compiled(trainer.compile, parameters, tokens, trainer.accelerator, stored),
        position_weights_T=position_weights(
            checked.data.context, checked.loss.position_weighting, checked.loss.position_factor
        ),
    )


def build_trainer(
    config: DictConfig, checked: TrainConfig, schedule: TokenSchedule, context: RunContext, team: Team
) -> L.Trainer:
    """Lightning's trainer with the run's members bound, evaluation among them, in the order that they ask for."""
    members = build_members(config.callbacks, context)
    own = [
        EvaluationDriver(members),
        MetricLog(hyperparameters(config, context)),
        AgreeOnSignal(),
        StopOnSignal(),
        StopOnDivergence(checked.trainer.on_nonfinite),
    ]
    drivers: list[L.Callback] = [member.bind(context) for member in own]
    # what offers other weights is up to date before they are evaluated, where nobody asks for another order
    ready, others = ([h for h in members.hooks if (h in members.averagers) is offers] for offers in (True, False))
    callbacks = sorted([*ready, *drivers, *others], key=lambda c: getattr(c, "order", 0))
    loggers = build_all(config.logger, "logger").values()
    bound: list[Logger] = [logger.bind(context) if isinstance(logger, RunLogger) else logger for logger in loggers]
    _quiet_lightning()
    t = checked.trainer
    return L.Trainer(
        accelerator=t.accelerator,
        **team.trainer_arguments(t.accelerator),
        precision=t.precision,  # type: ignore[arg-type]
        max_steps=schedule.final_step,
        max_epochs=-1,
        callbacks=callbacks,
        logger=bound or False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def hyperparameters(config: DictConfig, context: RunContext) -> dict[str, object]:
    """The resolved configuration without its technical groups, with the run's name: what a logger files a run under."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    told = {str(k): v for k, v in plain.items() if k not in (*TECHNICAL_KEYS, "task", "hydra")}
    return {"experiment": context.store.experiment, "run": context.store.run, **told}


def _quiet_lightning() -> None:
    for part in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
