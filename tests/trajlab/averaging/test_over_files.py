"""Averages over files: the same bits as along training, one pass, little memory, the input's own format."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import ROOT
from trajlab.averaging import Exponential, Mean, RunningAverages, Window, merge
from trajlab.averaging import over_files as series_averaging
from trajlab.averaging.over_files import average_series
from trajlab.checkpoints.slices import CheckpointFiles
from trajlab.checkpoints.weights import read_weights
from trajlab.errors import UserError

RULES = {
    "lawa": Window(3),
    "merge": merge(4, "inverse_sqrt", every_steps=1).rule,
    "ema": Exponential(0.7),
    "uniform": Mean(),
}
Series = list[tuple[str, Path]]


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "embed": torch.randn(50, 7, generator=generator),
        "half": torch.randn(3, 11, generator=generator).to(torch.bfloat16),
        "scale": torch.randn((), generator=generator),
        "empty": torch.zeros(0, 3),
    }


@pytest.fixture
def series(tmp_path: Path) -> Series:
    for i in range(6):
        metadata = {"config": "{}", "step": str(i)}
        save_file(tensors(i), tmp_path / f"step={i}.safetensors", metadata=metadata)
    return [(p.name, p) for p in sorted(tmp_path.glob("*.safetensors"))]


@pytest.mark.parametrize("slice_size", [1 << 16, 64])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_averages_over_files_equal_those_along_training_to_the_last_bit(
    series, rule, slice_size, tmp_path, monkeypatch
):
    monkeypatch.setattr(series_averaging, "SLICE", slice_size)
    written = average_series(series, rule, tmp_path / "out", name="x")
    online = RunningAverages(rule)
    for label, path in series:
        online.push(load_file(path))
        offline = load_file(written[label])
        for name, mean in online.items():
            assert torch.equal(offline[name], mean.to(offline[name].dtype)), (label, name)


def test_the_last_average_alone_is_the_last_of_all(series, tmp_path):
    for name, rule in RULES.items():
        every = average_series(series, rule, tmp_path / f"{name}-all", name=name)
        last = average_series(series, rule, tmp_path / f"{name}-last", name=name, last_only=True)
        assert list(last) == [series[-1][0]]
        ours, theirs = load_file(last[series[-1][0]]), load_file(every[series[-1][0]])
        assert all(torch.equal(ours[n], theirs[n]) for n in theirs)


def test_the_output_has_the_inputs_format_and_says_where_it_comes_from(series, tmp_path):
    written = average_series(series, Window(2), tmp_path / "out", name="lawa2", origin={"run": "r"})
    source, target = CheckpointFiles(series[3][1]), CheckpointFiles(written[series[3][0]])
    assert {n: (e.shape, e.dtype) for n, e in target.entries.items()} == {
        n: (e.shape, e.dtype) for n, e in source.entries.items()
    }
    assert target.metadata == {**source.metadata, "averaged": "lawa2", "newest_source": "step=3.safetensors"}
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["averages"]["step=3.safetensors"] == {"step=2.safetensors": 0.5, "step=3.safetensors": 0.5}
    assert record["averages"]["step=0.safetensors"] == {"step=0.safetensors": 1.0}
    assert record["origin"] == {"run": "r"}
    assert set(record["sources"]) == {label for label, _ in series}


def test_buffers_integers_and_tied_weights(tmp_path):
    for i in range(3):
        tied = torch.full((4, 2), float(i))
        state = {
            "embed.weight": tied, "head.weight": tied.clone(),
            "norm.running_mean": torch.full((2,), 10.0 * i), "norm.num_batches_tracked": torch.tensor(i),
            "mask": torch.tensor([i > 0, True]), "position_ids": torch.arange(3) + i,
        }  # fmt: skip
        save_file(state, tmp_path / f"{i}.safetensors")
    series = [(f"{i}.safetensors", tmp_path / f"{i}.safetensors") for i in range(3)]
    mean = load_file(average_series(series, Mean(), tmp_path / "out", name="m")["2.safetensors"])
    newest = load_file(series[-1][1])
    assert torch.equal(mean["embed.weight"], torch.ones(4, 2))
    assert torch.equal(mean["head.weight"], mean["embed.weight"])
    for name in ("norm.running_mean", "norm.num_batches_tracked", "mask", "position_ids"):
        assert torch.equal(mean[name], newest[name]), name


def sharded(folder: Path, seed: int, shards: int) -> Path:
    state = tensors(seed)
    folder.mkdir()
    names = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    for i, file in enumerate(names):
        save_file({n: t for j, (n, t) in enumerate(state.items()) if j % shards == i}, folder / file)
    weight_map = {n: names[j % shards] for j, n in enumerate(state)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps({"seed": seed}))
    return folder


def test_shards_with_an_index_average_like_one_file(series, tmp_path):
    folders = [(f"step{i}", sharded(tmp_path / f"step{i}", i, 3)) for i in range(6)]
    whole = average_series(series, Window(4), tmp_path / "whole", name="x")
    parts = average_series(folders, Window(4), tmp_path / "parts", name="x")
    last = parts["step5"]
    assert {p.name for p in last.iterdir()} == {p.name for p in folders[-1][1].iterdir()}
    assert json.loads((last / "config.json").read_text()) == {"seed": 5}
    ours, theirs = read_weights(last), load_file(whole["step=5.safetensors"])
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[n], theirs[n]) for n in theirs)


def test_a_checkpoint_may_be_sharded_otherwise_than_the_first(tmp_path):
    mixed = [("a", sharded(tmp_path / "a", 0, 1)), ("b", sharded(tmp_path / "b", 1, 2))]
    mean = read_weights(average_series(mixed, Mean(), tmp_path / "out", name="x")["b"])
    expected = (tensors(0)["embed"].double() + tensors(1)["embed"].double()) / 2
    assert torch.equal(mean["embed"], expected.float())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("half"), "lacks half"),
        (lambda s: s.update(more=torch.zeros(1)), "has more, which"),
        (lambda s: s.update(embed=torch.zeros(50, 8)), r"embed is \[50, 8\] in .*\[50, 7\] in"),
        (lambda s: s.update(embed=torch.zeros(50, 7).half()), r"embed is torch.float16 in .*torch.float32 in"),
    ],
)
def test_the_first_difference_between_checkpoints_is_named(series, change, words, tmp_path):
    state = tensors(9)
    change(state)
    save_file(state, tmp_path / "other")
    with pytest.raises(UserError, match=words):
        average_series([*series, ("other", tmp_path / "other")], Mean(), tmp_path / "out", name="x")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-5]), "fetch it again"),
        (lambda p: p.write_bytes(b"\xff" * 100), "no safetensors file"),
        (lambda p: p.write_bytes(b"\x05\0\0\0\0\0\0\0hello"), "no safetensors file"),
    ],
)
def test_a_broken_file_is_refused(series, spoil, words, tmp_path):
    spoil(series[2][1])
    with pytest.raises(UserError, match=words):
        average_series(series, Mean(), tmp_path / "out", name="x")


def files(folder):
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_the_same_averages_are_kept_and_others_are_not_written_over(series, tmp_path):
    out = tmp_path / "out"
    written = average_series(series, Mean(), out, name="x")
    before = files(out)
    assert average_series(series, Mean(), out, name="x") == written
    for rule, name, of in ((Window(2), "x", series), (Mean(), "y", series), (Mean(), "x", series[1:])):
        with pytest.raises(UserError, match="exists already"):
            average_series(of, rule, out, name=name)
    assert files(out) == before
    os.utime(series[0][1], (2e9, 2e9))  # written again since
    with pytest.raises(UserError, match="exists already"):
        average_series(series, Mean(), out, name="x")


def test_overwrite_replaces_averages_of_the_same_name_alone(series, tmp_path):
    out, thesis = tmp_path / "out", tmp_path / "thesis"
    average_series(series, Mean(), out, name="x")
    thesis.mkdir()
    (thesis / "thesis.tex").write_text("years of work")
    for folder, name in ((thesis, "x"), (out, "y")):
        before = files(folder)
        with pytest.raises(UserError, match="only averages named"):
            average_series(series, Mean(), folder, name=name, overwrite=True)
        assert files(folder) == before
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds notes.txt too"):
        average_series(series, Mean(), out, name="x", overwrite=True)
    (out / "notes.txt").unlink()
    average_series(series, Window(2), out, name="x", overwrite=True)
    assert "Window" in (out / "provenance.json").read_text()
    assert not list(tmp_path.glob(".*"))


def test_averages_killed_while_they_replaced_others_are_written_by_the_same_command(series, tmp_path, monkeypatch):
    out = tmp_path / "out"
    average_series(series, Mean(), out, name="x")
    kill = Mock(side_effect=KeyboardInterrupt)
    with monkeypatch.context() as patch:
        patch.setattr(series_averaging, "_average_tensor", kill)
        with pytest.raises(KeyboardInterrupt):
            average_series(series, Window(2), out, name="x", overwrite=True)
    assert not out.exists()
    assert len(list(tmp_path.glob(".out.replaced-*"))) == 1
    average_series(series, Window(2), out, name="x", overwrite=True)
    assert "Window" in (out / "provenance.json").read_text()
    assert not list(tmp_path.glob(".*"))


def test_an_absent_shard_and_an_empty_series_are_refused(tmp_path):
    folder = sharded(tmp_path / "a", 0, 2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="model-00002-of-00002"):
        average_series([("a", folder)], Mean(), tmp_path / "out", name="x")
    with pytest.raises(UserError, match="no checkpoint"):
        average_series([], Mean(), tmp_path / "out", name="x")


MEMORY = """
import resource, sys
from pathlib import Path
from trajlab.averaging import Window
from trajlab.averaging.over_files import average_series
paths = sorted(Path(sys.argv[1]).glob("*.safetensors"))
for k in (1, 8):
    average_series([(p.name, p) for p in paths], Window(k), paths[0].parent / f"out{k}", name="x", last_only=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_window(tmp_path):
    """Eight checkpoints of 16 MB: a window of eight adds less than a fifth of one of them."""
    for i in range(8):
        save_file({"a": torch.full((1 << 20,), float(i)), "b": torch.zeros(3 << 20)}, tmp_path / f"{i}.safetensors")
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    one, eight = (int(line) / 1024 for line in done.stdout.split())
    assert eight - one < 16 / 5, f"{eight - one:.1f} MB"
