"""The same tokens at every interval, variant and start; a training run records them too."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trajlab.analysis.load import load_runs
from trajlab.callbacks.token_loss import TokenLoss
from trajlab.data.packed import PackedWindows
from trajlab.errors import UserError
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import TokenSchedule
from trajlab.protocols import Interval
from trajlab.store.run_store import RunStore


def _context(folder: Path, tokens: np.ndarray) -> RunContext:
    windows = PackedWindows.over(tokens, 10)
    return RunContext(RunStore(folder, "e", "r", None), TokenSchedule([0, 10], 1), EvaluationEngine({"valid": windows}))


def _record(callback: TokenLoss, batch: int = 4) -> dict[str, list]:
    """Feed losses that say where they stand: 1000·window + position."""
    windows = callback.run.engine.splits["valid"]
    callback.begin(Interval(0, 0, 0, 0), "raw", "valid")
    for start in range(0, len(windows), batch):
        numbers = range(start, min(start + batch, len(windows)))
        tokens_BT = windows.batch(numbers)[:, 1:]
        place = 1000.0 * torch.tensor(list(numbers))[:, None] + torch.arange(1, 11)
        callback.update(place, torch.ones_like(tokens_BT, dtype=torch.bool), tokens_BT)
    return callback.rows().to_pydict()


@pytest.fixture
def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 50, 301).astype(np.uint16)


def test_each_probe_is_the_token_that_it_says(tmp_path: Path, tokens: np.ndarray) -> None:
    callback = TokenLoss(probes=25).bind(_context(tmp_path, tokens))
    rows = _record(callback)
    probes = callback.run.store.read("probes", ["probe", "window", "position", "token_id", "frequency"])
    assert probes is not None
    table = probes.to_pydict()
    assert rows["probe"] == table["probe"] == list(range(25))
    assert rows["nll"] == [1000.0 * w + p for w, p in zip(table["window"], table["position"], strict=True)]
    places = np.array(table["window"]) * 10 + np.array(table["position"])
    assert tokens[places].tolist() == table["token_id"]
    counts = np.bincount(tokens[1:301])
    assert [counts[i] for i in table["token_id"]] == table["frequency"]


def test_the_set_is_pinned(tmp_path: Path, tokens: np.ndarray) -> None:
    rows = _record(TokenLoss(probes=25).bind(_context(tmp_path / "a", tokens)))
    assert _record(TokenLoss(probes=25).bind(_context(tmp_path / "a", tokens)), batch=7) == rows
    assert _record(TokenLoss(probes=25).bind(_context(tmp_path / "b", tokens)), batch=1) == rows
    assert _record(TokenLoss(probes=25, seed=1).bind(_context(tmp_path / "c", tokens)))["nll"] != rows["nll"]
    with pytest.raises(UserError, match="the probe set is another one than before"):
        _record(TokenLoss(probes=24).bind(_context(tmp_path / "a", tokens)))


def test_more_probes_than_tokens_are_all_tokens(tmp_path: Path, tokens: np.ndarray) -> None:
    assert len(_record(TokenLoss(probes=10_000).bind(_context(tmp_path, tokens)))["nll"]) == 300


def test_beside_training(micro: Callable[..., Path]) -> None:
    run = micro(
        "+callbacks.token_loss._target_=trajlab.callbacks.token_loss.TokenLoss", "+callbacks.token_loss.probes=10000"
    )
    runs = load_runs(run)
    sums = runs.tokens.groupby("interval")["nll"].sum()
    np.testing.assert_allclose(sums, runs.intervals.set_index("interval")["nll_sum"], rtol=1e-5)
    assert runs.table("probes")["token"].notna().all()
