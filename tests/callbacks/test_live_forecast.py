"""Forecasts of a run in training: rows, the progress line, loggers, resuming."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trajlab.analysis import load_runs
from trajlab.analysis.forecasting.calibration import Calibration
from trajlab.analysis.forecasting.decisions import probability_under
from trajlab.callbacks.live_forecast import LiveForecast
from trajlab.callbacks.progress import forecast_text
from trajlab.evaluation.context import FinalLoss, RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import TokenSchedule
from trajlab.store.run_store import RunStore

LIVE = "+callbacks.live_forecast={_target_: trajlab.callbacks.live_forecast.LiveForecast, every: 5}"


def callback(tmp_path: Path, intervals: int = 41, epochs: float = 0.0) -> LiveForecast:
    """Bound to a run of one split that nothing trains; ``epochs`` is how often it reads its text."""
    schedule = TokenSchedule([i * 500_000 for i in range(intervals)], 1000)
    engine = EvaluationEngine({"valid": [], "ood": []})  # type: ignore[dict-item]
    last = schedule.steps[-1]
    run = RunContext(RunStore(tmp_path, "e", "r", 0), schedule, engine, position=lambda step: (epochs * step / last, 1))
    return LiveForecast(every=5).bind(run)


def feed(live: LiveForecast, intervals: range, split: str = "valid") -> list[list[dict]]:  # type: ignore[type-arg]
    """Losses that obey the temporal law, as the engine would hand them over."""
    rows = []
    for index in intervals:
        n = max(live.run.schedule.marks[index] / 1e6, 1e-3)
        nll_T = (0.3 * np.log(n) + 3) / (1 + 0.2 * np.arange(1, 33)) + 2.5 / (1 + 0.5 * n) + 2
        noise_BT = 1e-3 * torch.randn(4, 32, generator=torch.Generator().manual_seed(index))
        live.begin(live.run.interval(index), "raw", split)
        live.update(torch.tensor(nll_T, dtype=torch.float32) + noise_BT, torch.ones(4, 32, dtype=torch.bool), noise_BT)
        rows.append(live.rows().to_pylist())
    return rows


def test_a_run_that_obeys_the_law_is_forecast_within_a_hundredth(tmp_path: Path) -> None:
    live = callback(tmp_path)
    rows = feed(live, range(21))
    assert [bool(r) for r in rows] == [i > 0 and i % 5 == 0 for i in range(21)]
    last = {r["law"]: r for r in rows[20]}
    assert {"temporal", "power", "last value"} <= set(last)
    n = 20.0
    truth = ((0.3 * np.log(n) + 3) / (1 + 0.2 * np.arange(1, 33)) + 2.5 / (1 + 0.5 * n) + 2).mean()
    assert last["temporal"]["target_tokens"] == 20_000_000
    assert last["temporal"]["forecast"] == pytest.approx(truth, abs=0.01)
    assert live.run.latest.forecast is not None
    assert live.run.latest.forecast[:3] == tuple(last["default"][key] for key in ("forecast", "low", "high"))
    assert "will end at" in forecast_text(live.run.latest.forecast)


@pytest.mark.parametrize(("epochs", "shown"), [(1.0, True), (4.0, True), (28.0, False)])
def test_text_that_is_read_again_and_again_has_no_calibrated_band(tmp_path: Path, epochs: float, shown: bool) -> None:
    live = callback(tmp_path, epochs=epochs)
    default = next(r for r in feed(live, range(21))[20] if r["law"] == "default")
    assert (live.run.latest.forecast is not None) == shown == (default["forecast"] is not None)
    assert shown or "the text is read 28 times" in default["refused"]
    assert (tmp_path / "registered" / "at_40_percent.json").exists()  # scored in any case


def test_runs_of_ones_own_calibrate_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = callback(tmp_path, epochs=28.0)
    monkeypatch.setattr(Calibration, "families", lambda self, situation: 1)
    feed(live, range(21))
    assert live.run.latest.forecast is not None


def test_too_thin_evidence_is_said_and_not_drawn(tmp_path: Path) -> None:
    live = callback(tmp_path)
    temporal = next(r for r in feed(live, range(6))[5] if r["law"] == "temporal")
    assert temporal["forecast"] is None
    assert "8 are needed" in temporal["refused"]


def test_other_splits_and_variants_are_not_mixed_in(tmp_path: Path) -> None:
    live = callback(tmp_path)
    assert not any(feed(live, range(11), split="ood"))
    assert live.state_dict()["tokens"] == []


def test_a_resumed_callback_forecasts_as_if_never_stopped(tmp_path: Path) -> None:
    whole, first, second = callback(tmp_path), callback(tmp_path), callback(tmp_path)
    expected = feed(whole, range(21))[20]
    feed(first, range(13))
    second.load_state_dict(first.state_dict())
    assert feed(second, range(13, 21))[-1] == expected


def test_nothing_is_forecast_at_the_end(tmp_path: Path) -> None:
    assert feed(callback(tmp_path, intervals=11), range(11))[10] == []


def test_a_run_stores_its_forecasts(micro: Callable[..., Path]) -> None:
    folder = micro(LIVE, "intervals.every_tokens=128")
    forecasts = load_runs(folder).table("forecasts")
    assert set(forecasts["interval"]) == {5, 10}
    assert (forecasts["forecast"].isna() == forecasts["refused"].notna()).all()
    logged = list(folder.glob("logs/*/metrics.csv"))
    assert any("forecast/loss" in file.read_text() for file in logged)


def test_forecasting_leaves_the_training_as_it_is(micro: Callable[..., Path]) -> None:
    with_it = load_runs(micro(LIVE, runs="a")).intervals["loss"]
    without = load_runs(micro(runs="b")).intervals["loss"]
    np.testing.assert_array_equal(with_it, without)


def test_the_progress_line_shows_the_calibrated_band_and_what_the_target_asks(tmp_path: Path) -> None:
    live = callback(tmp_path)
    live.target = 2.6
    feed(live, range(21))
    shown = live.run.latest.forecast
    assert shown is not None
    o = live._default()
    assert not isinstance(o, str)
    assert (shown.low, shown.high) == (o.band()[0][-1], o.band()[1][-1])
    assert shown.reaches == pytest.approx(probability_under(o, 2.6))
    assert f"target {shown.reaches:.0%} likely" in forecast_text(shown)
    assert forecast_text(FinalLoss(3.0, 2.9, 3.1)) == "will end at 3.000 [2.900, 3.100]"


def test_a_frozen_forecast_is_not_rewritten_by_a_resumed_run_and_is_scored_at_the_end(tmp_path: Path) -> None:
    live = callback(tmp_path)
    feed(live, range(20))
    frozen = sorted((tmp_path / "registered").glob("at_*.json"))
    assert [f.name for f in frozen] == ["at_20_percent.json", "at_40_percent.json"]
    before = [f.read_bytes() for f in frozen]
    entry = json.loads(before[1])
    assert entry["low"] < entry["registered"] < entry["high"]
    assert entry["seen"] == 8_000_000
    assert len(entry["evidence_sha256"]) == 64
    assert entry["laws"]
    again = callback(tmp_path)  # killed, and begun again from an older checkpoint
    again.load_state_dict(
        {"tokens": live._tokens[:13], "losses": [[x + 0.1 for x in row] for row in live._losses[:13]]}
    )
    feed(again, range(13, 41))
    assert [f.read_bytes() for f in frozen] == before
    scores = {row["share"]: row for row in json.loads((tmp_path / "registered" / "scores.json").read_text())}
    assert set(scores) == {0.2, 0.4, 0.6}
    last = float(again._means()[-1])
    assert scores[0.4]["observed"] == last
    assert scores[0.4]["error"] == pytest.approx(entry["registered"] - last)
    assert scores[0.4]["inside"] == (entry["low"] <= last <= entry["high"])
    assert scores[0.4]["evidence"] == "changed"
    assert scores[0.6]["evidence"] == "same"


@pytest.mark.parametrize("shares", [[0.0], [1.0], [-0.1]])
def test_a_share_outside_the_run_is_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        LiveForecast(register=shares)
