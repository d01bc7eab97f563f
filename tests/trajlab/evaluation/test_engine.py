"""The engine and its consumers."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from trajlab.callbacks.interval_telemetry import IntervalTelemetry
from trajlab.callbacks.position_loss import PositionLoss
from trajlab.data.packed import PackedWindows
from trajlab.evaluation.context import RunContext
from trajlab.evaluation.engine import EvaluationEngine
from trajlab.evaluation.intervals import TokenSchedule
from trajlab.evaluation.nll import token_losses
from trajlab.models.llama import LlamaModel
from trajlab.protocols import Interval
from trajlab.store.run_store import RunStore

WHERE = Interval(1, 100, 128, 2)


class Halved:
    """A variant whose weights are half the model's."""

    def __init__(self, model: LlamaModel) -> None:
        self.model = model

    def variants(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        yield "halved", {n: p.detach() / 2 for n, p in self.model.named_parameters()}


@pytest.fixture
def scene(tmp_path: Path) -> tuple[EvaluationEngine, LlamaModel, list]:
    torch.manual_seed(0)
    model = LlamaModel(vocab_size=40, width=16, layers=1, heads=2, hidden=24, context=8, dropout=0.3)
    stream = np.random.default_rng(0).integers(0, 40, 500).astype(np.uint16)
    splits = {"valid": PackedWindows.over(stream, 8), "dense": PackedWindows.over(stream, 8, stride=2, limit=50)}
    engine = EvaluationEngine(splits, batch_windows=7)
    context = RunContext(
        RunStore(tmp_path, "e", "r", 0), TokenSchedule([0, 128], 64), engine, token_bytes_V=np.arange(40)
    )
    return engine, model, [IntervalTelemetry().bind(context), PositionLoss()]


def test_positions_add_up_to_the_interval(scene: tuple) -> None:
    engine, model, consumers = scene
    tables = {k: t.to_pandas() for k, t in engine.evaluate(WHERE, model, consumers, [Halved(model)]).items()}
    by_position = tables["positions"].groupby(["variant", "split"])[["nll_sum", "count"]].sum()
    rows = tables["intervals"].set_index(["variant", "split"])
    assert set(rows.index) == {(v, s) for v in ("raw", "halved") for s in ("valid", "dense")}
    for key, row in rows.iterrows():
        mean = by_position.loc[key, "nll_sum"] / by_position.loc[key, "count"]
        assert mean == pytest.approx(row["loss"], abs=1e-9)
        assert np.sum(row["window_nll"]) == pytest.approx(row["nll_sum"], abs=1e-9)


def test_the_loss_is_that_of_a_plain_forward_pass(scene: tuple) -> None:
    engine, model, consumers = scene
    row = engine.evaluate(WHERE, model, consumers)["intervals"].to_pandas().set_index("split").loc["valid"]
    model.eval()
    windows = engine.splits["valid"]
    plain = token_losses(model, windows.batch(range(len(windows)))).double()
    assert row["loss"] == pytest.approx(float(plain.mean()), abs=1e-6)
    targets = windows.batch(range(len(windows)))[:, 1:]
    assert row["byte_count"] == int(targets.sum())
    assert row["token_count"] == targets.numel()


def test_evaluation_leaves_weights_modes_and_generator_alone(scene: tuple) -> None:
    engine, model, consumers = scene
    model.train()
    model.layers[0].mlp.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    generator = torch.get_rng_state()
    engine.evaluate(WHERE, model, consumers, [Halved(model)])
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert model.training
    assert not model.layers[0].mlp.training


def test_a_variant_is_scored_with_its_own_weights(scene: tuple) -> None:
    engine, model, consumers = scene
    rows = engine.evaluate(WHERE, model, consumers, [Halved(model)])["intervals"].to_pandas()
    other = LlamaModel(vocab_size=40, width=16, layers=1, heads=2, hidden=24, context=8)
    other.load_state_dict({n: p / 2 for n, p in model.state_dict().items()})
    alone = engine.evaluate(WHERE, other, consumers)["intervals"].to_pandas()
    halved = rows[rows["variant"] == "halved"]
    assert halved["nll_sum"].tolist() == alone["nll_sum"].tolist()


def test_a_variant_with_foreign_weights_is_refused(scene: tuple) -> None:
    class Foreign:
        def variants(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
            yield "foreign", {"no.such": torch.zeros(1)}

    engine, model, consumers = scene
    with pytest.raises(ValueError, match="no.such"):
        engine.evaluate(WHERE, model, consumers, [Foreign()])


class Named:
    """A consumer as they were before the engine added columns, or not quite."""

    table = "named"

    def __init__(self, **columns: list[str | None]) -> None:
        self.columns = columns

    def begin(self, interval: Interval, variant: str, split: str) -> None:
        pass

    def update(self, nll_BT: Tensor, mask_BT: Tensor, tokens_BT: Tensor) -> None:
        pass

    def rows(self) -> pa.Table:
        return pa.table({"number": [1], **self.columns})


def test_the_engine_says_which_variant_and_split(scene: tuple) -> None:
    engine, model, _ = scene
    table = engine.evaluate(WHERE, model, [Named()], [Halved(model)])["named"]
    assert table.column_names == ["variant", "split", "number"]
    assert table["variant"].to_pylist() == ["raw", "raw", "halved", "halved"]
    assert table["split"].to_pylist() == ["valid", "dense"] * 2


def test_a_consumer_that_fills_these_columns_itself_keeps_them(scene: tuple) -> None:
    engine, model, _ = scene
    own = engine.evaluate(WHERE, model, [Named(variant=["mine"], split=["all"])])["named"].to_pydict()
    assert own == {"number": [1, 1], "variant": ["mine", "mine"], "split": ["all", "all"]}
    empty = engine.evaluate(WHERE, model, [Named(variant=[None])])["named"].to_pydict()
    assert empty["variant"] == ["raw", "raw"]


def test_a_listener_hears_how_far_a_split_is() -> None:
    from tests.series_material import byte_tokenizer, transformers_model
    from trajlab.data.documents import DocumentWindows
    from trajlab.models.hf import HFModel

    model, heard = HFModel(transformers_model()), []
    for layout in ("documents", "stream"):
        windows = DocumentWindows.over(["abcdefghij" * n for n in (3, 1, 4, 1, 2)], byte_tokenizer(), 32, layout=layout)
        engine = EvaluationEngine({layout: windows}, 2, lambda *told: heard.append(told))
        engine.evaluate(Interval(0, 0, 0, 0), model, [])
    assert [h for h in heard if h[1] == "documents"] == [("raw", "documents", n, 6) for n in (2, 4, 6)]
    assert [h for h in heard if h[1] == "stream"] == [("raw", "stream", n, 4) for n in (2, 4)]


def test_documents_are_scored_by_length_and_told_in_order() -> None:
    from tests.series_material import byte_tokenizer, transformers_model
    from trajlab.data.documents import DocumentWindows
    from trajlab.models.hf import HFModel

    documents = ["abcdefghij" * n for n in (3, 1, 4, 1, 2, 6, 1, 3)]
    windows = DocumentWindows.over(documents, byte_tokenizer(), 32, layout="documents")
    model = HFModel(transformers_model())
    seen: list[torch.Tensor] = []
    sizes: list[int] = []

    class Told:
        table = "told"

        def begin(self, interval: Interval, variant: str, split: str) -> None: ...

        def update(self, nll_BT: torch.Tensor, mask_BT: torch.Tensor, tokens_BT: torch.Tensor) -> None:
            seen.append(nll_BT[mask_BT])

        def rows(self) -> pa.Table:
            return pa.table({"x": [0]})

    model.hf.register_forward_pre_hook(
        lambda m, args, options: sizes.append(options["input_ids"].numel()), with_kwargs=True
    )
    EvaluationEngine({"v": windows}, 2).evaluate(Interval(0, 0, 0, 0), model, [Told()])
    alone = [token_losses(model, windows.batch(range(i, i + 1))) for i in range(len(windows))]
    expected = torch.cat([n[windows.mask(range(i, i + 1))] for i, n in enumerate(alone)])
    torch.testing.assert_close(torch.cat(seen), expected, atol=1e-5, rtol=1e-5)
    padded = len(windows) * (windows.context + 1)
    assert sum(sizes[: len(sizes) - len(windows)]) < padded / 1.2, "little of the work is for padding"


def test_scoring_by_length_spares_a_quarter_of_the_work_at_41_percent_padding_and_changes_no_loss() -> None:
    """Work, not time, which a busy machine stretches: docs/audit.md has the times of `tests.benchmarks.document_speed`."""
    from tests.benchmarks.document_speed import Padded, documents, sums
    from tests.series_material import byte_tokenizer, transformers_model
    from trajlab.data.documents import DocumentWindows
    from trajlab.models.hf import HFModel

    windows = DocumentWindows.over(documents(64, 60), byte_tokenizer(), 60, layout="documents")
    assert 1 - windows.lengths.sum() / (len(windows) * windows.context) == pytest.approx(0.41, abs=0.04)
    model, worked = HFModel(transformers_model()), []
    model.hf.register_forward_pre_hook(
        lambda m, args, options: worked.append(options["input_ids"].numel()), with_kwargs=True
    )
    _, by_length = sums(model, windows)
    spent = sum(worked)
    _, padded = sums(model, Padded(windows))
    assert sum(worked) - spent >= 1.3 * spent
    np.testing.assert_allclose(by_length, padded, rtol=1e-5)


def test_losses_leave_the_device_once_and_not_after_each_batch(scene: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, model, consumers = scene
    moved: list[tuple[int, ...]] = []
    cpu = Tensor.cpu

    def counted(tensor: Tensor) -> Tensor:
        moved.append(tuple(tensor.shape))
        return cpu(tensor)

    monkeypatch.setattr(Tensor, "cpu", counted)
    engine.evaluate(WHERE, model, consumers)
    assert moved == [(len(windows), 8) for windows in engine.splits.values()]  # nine and eight batches
