"""Lightning's TensorBoard, Weights & Biases and MLflow loggers, with tokens as the x-axis and one logged run per run.

Each names what Lightning leaves open from the run that it serves: the name that tells its condition, the sweep that it
belongs to, and what it is known by, so that a resumed run goes on in the same logged run. `logger_problems` says before
anything is prepared which packages are missing.
"""

import os
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from time import monotonic, time
from typing import Any, Protocol, Self, runtime_checkable
from uuid import uuid4

from filelock import FileLock
from hydra.errors import HydraException
from hydra.utils import get_object
from lightning.pytorch import loggers as lightning_loggers
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from trajlab.errors import UserError
from trajlab.evaluation.context import RunContext
from trajlab.files import publish
from trajlab.terminal import say

OFFLINE = ("offline", "dryrun", "disabled")
"""Modes of wandb in which nothing is sent."""

INSTALL = 'pip install "trajlab[loggers]"'


@runtime_checkable
class RunLogger(Protocol):
    """A logger of Lightning that wants to know which run it serves."""

    def bind(self, run: RunContext) -> Any:
        """Tell it, before anything is logged; the logger itself."""
        ...


def logger_problems(nodes: DictConfig) -> list[str]:
    """A line for each logger of config group `logger` that could not start: its packages are missing, or nobody is logged in
    to its server. Nothing is built or written.
    """
    return [p for name, node in nodes.items() if node for p in _missing(str(name), node)]


def _missing(name: str, node: DictConfig) -> Iterator[str]:
    try:
        logger = get_object(str(node.get("_target_")))
    except (HydraException, ImportError, ValueError, AttributeError):
        return  # said already, with the other targets
    absent = [package for package in getattr(logger, "needs", ()) if find_spec(package) is None]
    if absent:
        yield f"logger={name} needs {' and '.join(absent)}, which is not installed; {INSTALL}, or write logger=csv"
    elif not getattr(logger, "logged_in", lambda _: True)(node):
        yield f"logger={name}: nobody is logged in here; write `wandb login` first, or keep the log on this machine: WANDB_MODE=offline"


def _first() -> bool:
    """Whether this is the process that logs."""
    return getattr(rank_zero_only, "rank", 0) == 0


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"optimizer": {"lr": 0.1}}`` as ``{"optimizer.lr": 0.1}``."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def _plain(params: dict[str, Any] | Namespace) -> dict[str, Any]:
    return vars(params) if isinstance(params, Namespace) else params


def group_of(run: RunContext) -> str:
    """The sweep that a run belongs to: its experiment and what was swept beside the seed."""
    swept = [key for key in re.findall(r"(?:^|,)([^,=]+)=", run.store.run) if key != "seed"]
    return " by ".join([run.store.experiment, *([", ".join(swept)] if swept else [])])


class TensorBoardLogger(lightning_loggers.TensorBoardLogger):
    """Events in ``<run>/tensorboard``; the step is the number of tokens. ``tensorboard --logdir runs`` shows all runs."""

    needs = ("tensorboard",)

    def __init__(self, save_dir: str, version: str = "tensorboard", **rest: Any) -> None:
        super().__init__(save_dir, name="", version=version, default_hp_metric=False, **rest)
        self._tokens_per_step = 1

    def bind(self, run: RunContext) -> Self:
        """Learn what a step is worth."""
        self._tokens_per_step = run.schedule.tokens_per_step
        return self

    @rank_zero_only
    def resume(self, step: int) -> None:
        """Hide what was logged after the checkpoint that the run goes on from."""
        self._kwargs["purge_step"] = step * self._tokens_per_step + 1

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Scalars over tokens."""
        super().log_metrics(metrics, None if step is None else step * self._tokens_per_step)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, metrics: dict[str, Any] | None = None, step: int | None = None
    ) -> None:
        """The configuration with dotted keys, beside ``valid/loss`` in the tab HPARAMS."""
        from torch.utils.tensorboard.summary import hparams

        told = _plain(params)
        self.hparams = {**_plain(self.hparams), **told}
        writer = self.experiment._get_file_writer()
        for summary in hparams(self._sanitize_params(flat(told)), metrics or {"valid/loss": 0.0}):
            writer.add_summary(summary, 0)


class WandbLogger(lightning_loggers.WandbLogger):
    """A run of Weights & Biases; ``tokens`` is the x-axis. WANDB_MODE=offline keeps it on this machine.

    ``name`` and ``group``: the run's and its sweep's unless given.
    """

    needs = ("wandb",)

    @staticmethod
    def logged_in(node: Mapping[str, Any]) -> bool:
        """Whether wandb would begin without asking; it asks when the corpus is prepared already, and a job has nobody to ask."""
        mode = node.get("mode") or os.environ.get("WANDB_MODE") or "online"
        known = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
        if mode in OFFLINE or node.get("offline") or any(os.environ.get(name) for name in known):
            return True
        import wandb

        if wandb.setup().settings.mode in OFFLINE:  # `wandb offline` was written in this folder
            return True
        tells = {"prompt", "verify"} <= set(signature(wandb.login).parameters)  # older ones would ask here
        return not tells or bool(wandb.login(prompt=False, verify=False))

    def __init__(
        self,
        save_dir: str,
        project: str,
        name: str | None = None,
        group: str | None = None,
        id: str | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(name, save_dir, id=id, project=project, group=group, **rest)
        del self._wandb_init["anonymous"]  # a warning at every start, without effect
        self._tokens_per_step = 1

    def bind(self, run: RunContext) -> Self:
        """Learn the run's name, its sweep, and what it is known by."""
        self._tokens_per_step = run.schedule.tokens_per_step
        self._name = self._wandb_init["name"] = self._name or run.store.run
        self._wandb_init["group"] = self._wandb_init.get("group") or group_of(run)
        self._id = self._wandb_init["id"] = self._id or _known_by(_id_file(run, "wandb")) or _new_id(run)
        return self

    @property
    def experiment(self) -> Any:
        """The run of wandb. Raises UserError where wandb refuses to start one."""
        if self._experiment is None and _first():
            self._start()
        return super().experiment

    def _start(self) -> None:
        if (self._wandb_init.get("mode") or os.environ.get("WANDB_MODE")) in OFFLINE:
            os.environ.setdefault(
                "WANDB_ERROR_REPORTING", "false"
            )  # read when wandb is imported: offline means offline
        import wandb

        Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(console="off", silent=True)
        try:
            run = wandb.init(**{"settings": quiet, "reinit": "create_new", **self._wandb_init})
        except wandb.Error as e:
            raise UserError(
                f"logger=wandb: {e}; log in with `wandb login`, or keep the log on this machine: WANDB_MODE=offline"
            ) from e
        run.define_metric("tokens", hidden=True)
        run.define_metric("*", step_metric="tokens")
        self._experiment = run
        if run.offline:
            say(f"wandb: kept on this machine; to send it: wandb sync {Path(run.dir).parent}")
        elif run.url:
            say(f"wandb: {run.url}")

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Numbers beside their tokens."""
        tokens = {} if step is None else {"tokens": step * self._tokens_per_step, "step": step}
        super().log_metrics({**metrics, **tokens})

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run: the next one of a sweep in this process is another."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)


class MLFlowLogger(lightning_loggers.MLFlowLogger):
    """A run of MLflow; the step is the number of tokens, the tag `sweep` names the sweep.

    Runs go to ``tracking_uri``, else to the environment's MLFLOW_TRACKING_URI, else to the SQLite file ``mlflow.db`` in
    ``save_dir``. Numbers are handed over in batches, at every evaluation and every few seconds, since each costs a
    transaction; see docs/loggers.md.
    """

    needs = ("mlflow", "sqlalchemy", "alembic")

    BATCH = 900
    """Metrics of a request; MLflow takes at most 1,000."""
    SECONDS = 10.0
    """The longest that a number waits for its batch."""

    def __init__(
        self,
        save_dir: str,
        experiment_name: str,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        run_id: str | None = None,
        **rest: Any,
    ) -> None:
        folder = Path(save_dir).absolute()
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".mlflow.lock")  # two runs of a sweep must not both make the tables
        with self._lock:
            super().__init__(experiment_name, run_name, uri, save_dir=save_dir, run_id=run_id, **rest)
        self._artifact_location = self._artifact_location or (folder / "mlartifacts").as_uri()
        self._tokens_per_step, self._id_file = 1, folder / "mlflow"
        self._waiting: list[Any] = []
        self._sent = monotonic()

    def bind(self, run: RunContext) -> Self:
        """Learn the run's name, its sweep, and what it is known by."""
        self._tokens_per_step, self._id_file = run.schedule.tokens_per_step, _id_file(run, "mlflow")
        self._run_name = self._run_name or run.store.run
        self.tags = {"sweep": group_of(run), **(self.tags or {})}
        self._run_id = self._run_id or self._stored()
        return self

    def _stored(self) -> str | None:
        """The run that a former start logged to, if the store still has it."""
        from mlflow.exceptions import MlflowException

        if (known := _known_by(self._id_file)) is None:
            return None
        try:
            self._mlflow_client.get_run(known)
        except MlflowException:
            return None
        return known

    @property
    def experiment(self) -> Any:
        """MLflow's client; the run exists from here on."""
        if self._initialized or not _first():
            return super().experiment
        resumed = self._run_id is not None
        with self._lock:
            client = super().experiment
        if resumed:
            client.update_run(self._run_id, "RUNNING")
        else:
            publish(self._id_file, lambda p: p.write_text(f"{self._run_id}\n"))
        return client

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """The configuration with dotted keys; once, since MLflow refuses other values later."""
        if not self.experiment.get_run(self.run_id).data.params:
            super().log_hyperparams(flat(_plain(params)))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Numbers over tokens, in batches."""
        from mlflow.entities import Metric

        now, tokens = int(time() * 1000), (step or 0) * self._tokens_per_step
        self._waiting += [Metric(k, float(v), now, tokens) for k, v in metrics.items() if k != "tokens"]
        if any(k.startswith("valid/") for k in metrics) or monotonic() - self._sent > self.SECONDS:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Hand over what waits."""
        for start in range(0, len(self._waiting), self.BATCH):
            self.experiment.log_batch(self.run_id, metrics=self._waiting[start : start + self.BATCH])
        self._waiting, self._sent = [], monotonic()

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Hand over the rest and end the run."""
        self.save()
        super().finalize(status)


def _id_file(run: RunContext, logger: str) -> Path:
    """Where a run keeps what a logger knows it by."""
    return run.store.folder / "logs" / f"{logger}.id"


def _known_by(file: Path) -> str | None:
    """The id in a file; None where there is none, or something that is no id."""
    text = file.read_text().strip() if file.is_file() else ""
    return text if re.fullmatch(r"[0-9a-f]{8,32}", text) else None


def _new_id(run: RunContext) -> str:
    new = uuid4().hex
    if _first():
        publish(_id_file(run, "wandb"), lambda p: p.write_text(f"{new}\n"))
    return new
