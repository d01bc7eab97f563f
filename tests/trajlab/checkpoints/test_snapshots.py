"""A snapshot says how to build its model; a stored file builds nothing that the command doesn't trust."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MICRO, run_here
from tests.trajlab.checkpoints.users_model import Bigram, Trace
from trajlab.analysis.load import load_runs
from trajlab.checkpoints.snapshots import description, load_snapshot, snapshot_steps, write_snapshot
from trajlab.checkpoints.weights import distinct_tensors, read_metadata, write_weights
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.models.llama import LlamaModel
from trajlab.protocols import Interval
from trajlab.store.layout import snapshots

HERE = "tests.trajlab.checkpoints.users_model"
SHAPE = {"vocab_size": 20, "width": 8, "layers": 1, "heads": 2, "hidden": 8, "context": 4, "kv_heads": None}
MINE = [o for o in MICRO if not o.startswith("model.")] + [
    "~model", f"+model._target_={HERE}.Bigram", "+model.vocab_size=300", "seed=0"
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a user's own model."""
    folder = tmp_path_factory.mktemp("mine")
    run_here(*MINE, f"runs_dir={folder}")
    return folder / "tinystories_budget_small" / "seed=0"


def test_a_users_model_is_built_again_where_the_command_names_it(run: Path) -> None:
    snapshot = snapshots(run)[-1]
    assert description(snapshot) == {"class": f"{HERE}.Bigram", "arguments": {"vocab_size": 300}}
    with pytest.raises(UserError, match="not built on a stored file's word"):
        load_snapshot(snapshot)
    model = load_snapshot(snapshot, f"{HERE}.Bigram")
    assert isinstance(model, Bigram)
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in load_file(snapshot).items())


def test_a_users_model_is_averaged_and_scored_where_the_command_names_it(run: Path) -> None:
    task = ["task=average", f'runs="{run}"', "scheme=lawa", "k=2"]
    with pytest.raises(UserError, match="name it in the command"):
        run_here(*task)
    run_here(*task, "~model", f"+model._target_={HERE}.Bigram")
    intervals = load_runs(run).intervals
    # the first average starts at the first snapshot behind the initial one, and is that snapshot
    losses = intervals[intervals["interval"] == 1].set_index("variant")["loss"]
    assert losses["lawa2"] == losses["raw"]


def test_a_users_model_is_exported_and_evaluated_where_the_command_names_it(run: Path, tmp_path: Path) -> None:
    snapshot = snapshots(run)[-1]
    run_here(*MINE, "task=export", f'snapshot="{snapshot}"', f"to={tmp_path / 'folder'}")
    with pytest.raises(UserError, match="not built on a stored file's word"):
        CheckpointModel.open(tmp_path / "folder")
    opened = CheckpointModel.open(tmp_path / "folder", model_class=f"{HERE}.Bigram")
    tokens = torch.arange(12)[None]
    assert torch.equal(opened(tokens), load_snapshot(snapshot, f"{HERE}.Bigram")(tokens))
    with pytest.raises(UserError, match="no model of transformers"):
        _ = opened.hf

    run_here(
        "task=evaluate", "series=trajlab_run", "name=again", "model.name=mine", f'model.series.run="{run}"',
        f"model.model_class={HERE}.Bigram", "data.source=embedded", "evaluation.documents=2", "evaluation.context=16",
        f"runs_dir={tmp_path}", "trainer.threads=1", "model.series.steps=[0,30]",
    )  # fmt: skip
    losses = load_runs(tmp_path / "again").intervals["loss"].tolist()
    assert losses[1] < losses[0]


def test_nothing_that_a_stored_file_names_is_built_unasked(tmp_path: Path) -> None:
    path, model = tmp_path / "tokens=000000000000.safetensors", LlamaModel(**SHAPE)
    for described, words in [
        ({"class": f"{HERE}.Trace", "arguments": {}}, "not built on a stored file's word"),
        ({"class": "builtins.exec", "arguments": {"source": "raise SystemExit"}}, "not built on a stored file's word"),
        (
            {"class": "trajlab.models.llama.LlamaModel", "arguments": {"width": {"_target_": f"{HERE}.Trace"}}},
            "no plain value",
        ),
        ({"class": "trajlab.models.llama.LlamaModel", "arguments": {"heads": "many"}}, "can't be built"),
    ]:
        write_snapshot(path, model, Interval(0, 0, 0, 0), described)
        with pytest.raises(UserError, match=words):
            load_snapshot(path)
    assert Trace.built == 0


def test_a_snapshot_of_an_older_run_says_its_shape_alone(tmp_path: Path) -> None:
    path, model = tmp_path / "tokens=000000000000.safetensors", LlamaModel(**SHAPE)
    save_file(distinct_tensors(model), path, {"config": json.dumps(SHAPE), "tokens": "0", "step": "0"})
    again = load_snapshot(path)
    assert torch.equal(model(torch.arange(4)[None]), again(torch.arange(4)[None]))
    write_weights(path, distinct_tensors(model), {"tokens": "0"})
    with pytest.raises(UserError, match="doesn't say how to build its model"):
        load_snapshot(path)


def test_a_missing_or_foreign_tensor_is_named(tmp_path: Path) -> None:
    path, model = tmp_path / "x.safetensors", LlamaModel(**SHAPE)
    described = {"class": "trajlab.models.llama.LlamaModel", "arguments": SHAPE}
    metadata, state = {"model": json.dumps(described)}, distinct_tensors(model)
    for wrong, words in [
        ({k: v for k, v in state.items() if k != "norm.weight"}, r"lacks \['norm.weight'\]"),
        (state | {"other": torch.ones(1)}, r"holds \['other'\]"),
        (state | {"norm.weight": torch.ones(3)}, "doesn't fit its model"),
    ]:
        write_weights(path, wrong, metadata)
        with pytest.raises(UserError, match=words):
            load_snapshot(path)


def test_equal_weights_make_equal_files_that_safetensors_opens(tmp_path: Path) -> None:
    weights = {
        "b": torch.randn(3, 5), "a": torch.randn(2).to(torch.bfloat16), "n": torch.tensor(7), "empty": torch.zeros(0, 3),
        "turned": torch.randn(4, 2).T, "flag": torch.tensor([True, False]),
    }  # fmt: skip
    metadata = {str(i): "x" for i in range(20)}
    write_weights(tmp_path / "one", weights, metadata)
    write_weights(tmp_path / "two", dict(reversed(weights.items())), dict(reversed(metadata.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    opened = load_file(tmp_path / "one")
    assert opened.keys() == weights.keys()
    assert all(torch.equal(opened[n], t) and opened[n].dtype == t.dtype for n, t in weights.items())
    assert read_metadata(tmp_path / "one") == metadata
    # the same order and padding as the library's own writer, whose metadata alone has no order
    write_weights(tmp_path / "plain", weights, {"format": "pt"})
    save_file({n: t.contiguous() for n, t in weights.items()}, tmp_path / "library", {"format": "pt"})
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "library").read_bytes()


def test_a_stranger_s_file_among_the_snapshots_is_named(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    write_weights(tmp_path / "snapshots" / "tokens=000000000640.safetensors", {"a": torch.zeros(2)}, {})
    with pytest.raises(UserError, match=r"tokens=000000000640\.safetensors is no snapshot of a run"):
        snapshot_steps(tmp_path)
