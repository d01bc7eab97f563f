"""TensorBoard, Weights & Biases and MLflow, each with the real package: one run, interrupted and taken up again."""

import json
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import MICRO, run_here
from trajlab import interruption
from trajlab.analysis.load import load_runs
from trajlab.errors import UserError
from trajlab.training import loggers

AVERAGED = (
    "+callbacks.averages={_target_: trajlab.callbacks.checkpoint_averaging.CheckpointAveraging, "
    "averagers: {lawa2: {_target_: trajlab.averaging.lawa, k: 2, every_tokens: 320, name: lawa2}}}"
)
BROKEN_AT_12 = "+callbacks.signal={_target_: tests.trajlab.training.misfortune.SignalAt, step: 12, name: SIGTERM}"
Micro = Callable[..., Path]
Curves = dict[str, list[tuple[int, float]]]


def broken_and_resumed(micro: Micro, logger: str) -> Path:
    asked = [f"logger={logger}", f"optimizer.lr={LR}", "run_keys=[seed,optimizer.lr]", AVERAGED, BROKEN_AT_12]
    with interruption.installed(), pytest.raises(interruption.Interrupted):
        micro(*asked)
    return micro(*asked).parent / f"seed=0,optimizer.lr={LR}"


LR = 0.003


def assert_the_curves_of(run: Path, curves: Curves) -> None:
    """Every step and every interval of the run once, over tokens, whatever is logged twice being equal."""
    stored = load_runs(run)
    raw, average = (stored.intervals[stored.intervals["variant"] == v] for v in ("raw", "lawa2"))
    for name, frame, column in (
        ("train/loss", stored.steps, "train_loss"),
        ("valid/loss", raw, "loss"),
        ("valid/lawa2/loss", average, "loss"),
        ("interval/train_loss", raw.dropna(subset="train_loss"), "train_loss"),
    ):
        points = sorted(set(curves[name]))
        assert [tokens for tokens, _ in points] == frame["tokens"].tolist(), name
        assert [value for _, value in points] == pytest.approx(frame[column].tolist(), rel=1e-6), name


def test_csv_has_the_steps_and_the_names(micro: Micro) -> None:
    run = micro(AVERAGED)
    [file] = run.glob("logs/*/metrics.csv")
    logged = pd.read_csv(file)
    names = [c for c in logged if "/" in c and c.split("/")[0] in ("train", "valid", "interval")]
    assert_the_curves_of(run, {n: list(logged[["tokens", n]].dropna().itertuples(index=False)) for n in names})
    assert "windows_per_step: 4" in (file.parent / "hparams.yaml").read_text()


def test_tensorboard(micro: Micro) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run = broken_and_resumed(micro, "tensorboard")
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    curves = {n: [(e.step, e.value) for e in events.Scalars(n)] for n in events.Tags()["scalars"]}
    assert len(curves["train/loss"]) == 30  # the steps that are done twice are hidden
    assert_the_curves_of(run, curves)
    stored = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(stored).session_start_info.hparams
    assert values["optimizer.lr"].number_value == LR


def test_wandb_offline(micro: Micro, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    called: list[object] = []
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda s, to: (called.append((s.family, to)), connect(s, to))[1])
    run = broken_and_resumed(micro, "wandb")
    outside = [to for family, to in called if family != socket.AF_UNIX and to[0] not in ("127.0.0.1", "::1")]  # type: ignore[index]
    assert outside == []
    starts = sorted(run.glob("logs/wandb/offline-run-*/*.wandb"))
    assert len(starts) == 2
    runs, curves, configs = zip(*map(_wandb_records, starts), strict=True)
    assert len({r.run_id for r in runs}) == 1
    assert {(r.project, r.run_group, r.display_name) for r in runs} == {
        ("trajlab", "tinystories_budget_small by optimizer.lr", f"seed=0,optimizer.lr={LR}")
    }
    assert configs[0]["optimizer"]["lr"] == LR
    assert_the_curves_of(run, {name: [*curves[0][name], *curves[1][name]] for name in curves[0]})


def _wandb_records(file: Path) -> tuple[Any, Curves, dict[str, Any]]:
    from wandb.proto.wandb_internal_pb2 import Record

    run, axes, config, curves = None, set(), {}, defaultdict(list)
    for record in map(Record.FromString, _messages(file.read_bytes())):
        run = record.run if record.HasField("run") else run
        if record.HasField("metric"):
            axes.add((record.metric.glob_name, record.metric.step_metric))
        config |= {u.key: json.loads(u.value_json) for u in record.config.update}
        row = {(i.key or i.nested_key[0]): json.loads(i.value_json) for i in record.history.item}
        for name, value in row.items():
            curves[name].append((row.get("tokens", -1), value))
    assert ("*", "tokens") in axes
    return run, curves, config


def _messages(data: bytes, block: int = 32_768) -> Iterator[bytes]:
    """The messages of a LevelDB log: 4 bytes checksum, 2 length, 1 kind (whole, first, middle, last); 7 bytes before all."""
    at, message = 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield message
            message = b""


def test_mlflow_on_sqlite(micro: Micro, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = broken_and_resumed(micro, "mlflow")
    client = MlflowClient(f"sqlite:///{run.parent.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tinystories_budget_small")
    [logged] = client.search_runs([experiment.experiment_id])
    assert logged.info.run_name == f"seed=0,optimizer.lr={LR}"
    assert logged.info.status == "FINISHED"
    assert logged.data.tags["sweep"] == "tinystories_budget_small by optimizer.lr"
    assert logged.data.params["optimizer.lr"] == str(LR)
    curves = {n: client.get_metric_history(logged.info.run_id, n) for n in logged.data.metrics}
    assert_the_curves_of(run, {n: [(m.step, m.value) for m in ms] for n, ms in curves.items()})


@pytest.mark.parametrize("logger", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_told_before_anything_is_prepared(
    logger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"logger={logger} needs .*{logger}.*trajlab\[loggers\]"):
        run_here(*MICRO, f"logger={logger}", *_kept_in(tmp_path))
    assert not os.listdir(tmp_path)


def _kept_in(folder: Path) -> list[str]:
    """Whatever is prepared or written lands there."""
    return [f"runs_dir={folder / 'runs'}", f"data.cache_dir={folder / 'cache'}"]


def test_that_nobody_is_logged_in_is_told_before_anything_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """wandb asked for a key at the end of preparing, and a job without a terminal died there."""
    pytest.importorskip(
        "wandb"
    ).teardown()  # what another test of this process set up would be asked, not the environment
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
    told = "logger=wandb: nobody is logged in here; write `wandb login` first.*WANDB_MODE=offline"
    with pytest.raises(UserError, match=told):
        run_here(*MICRO, "logger=wandb", *_kept_in(tmp_path))
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache").exists()
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_API_KEY", "0" * 40)):
        with monkeypatch.context() as set_here:
            set_here.setenv(name, value)
            assert loggers.WandbLogger.logged_in({})
