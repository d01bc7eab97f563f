"""Faults planted in folders of sharded weights, one at a time, as they come from outside: each is named and nothing else."""

import json
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trajlab.checkpoints.test_audit import trained
from trajlab.checkpoints.audit.tensor_facts import read_facts
from trajlab.checkpoints.audit.tensor_faults import Audited, tensor_faults
from trajlab.checkpoints.sources import FolderSeries
from trajlab.checkpoints.weights import read_weights, write_weights
from trajlab.errors import UserError
from trajlab.tasks.audit import cheap_faults

STEPS = 12
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
FIRST = {"0.weight", "1.weight", "1.bias", "2.weight", "2.bias"}
TOKENIZER = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "ba": 3}, "merges": [["a", "b"], ["b", "a"]]}}


def write(folder: Path, state: dict[str, Tensor]) -> None:
    """A checkpoint of two shards with their index, a configuration and a tokenizer."""
    folder.mkdir(parents=True)
    where = {name: SHARDS[name not in FIRST] for name in state}
    for shard in SHARDS:
        write_weights(folder / shard, {n: t for n, t in state.items() if where[n] == shard}, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt_neox", "hidden_size": 24}))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    for number, state in enumerate(trained(3, count=STEPS)):
        write(root / f"step{number}", state)
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "series")
    return tmp_path / "series"


def faults(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Kind and revisions of each fault, as ``task=audit`` finds them."""
    series = FolderSeries(f"{folder}/step{{step}}", 1000)
    found = cheap_faults(series)
    told = {(f.kind, frozenset(f.revisions)) for f in found}
    gone = {r for f in found if f.kind == "missing" for r in f.revisions}
    audited, broken = [], []
    for c in series.checkpoints():
        if c.revision in gone:
            continue
        try:
            audited.append(Audited(c.revision, read_facts(series.fetch(c))))
        except UserError:
            broken.append(("broken", (c.revision,)))
    broken = [b for b in broken if (b[0], frozenset(b[1])) not in told]
    more = [f for f in tensor_faults(audited) if (f.kind, frozenset(f.revisions)) not in told]
    return [*((f.kind, f.revisions) for f in found), *broken, *((f.kind, f.revisions) for f in more)]


def swap_shards(folder: Path, one: int, other: int, shard: int = 1) -> None:
    files = [folder / f"step{step}" / SHARDS[shard] for step in (one, other)]
    first, second = (file.read_bytes() for file in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)


def change(folder: Path, step: int, by: Callable[[dict[str, Tensor]], None]) -> None:
    """Write a checkpoint anew with some of its tensors changed."""
    state = read_weights(folder / f"step{step}")
    by(state)
    shutil.rmtree(folder / f"step{step}")
    write(folder / f"step{step}", state)


def shard_of_another_seed(folder: Path) -> None:
    alien = trained(4, count=7)[6]
    change(folder, 6, lambda state: state.update({n: alien[n] for n in state if n not in FIRST}))


def tensor_in_another_order(folder: Path) -> None:
    change(folder, 6, lambda state: state.update({"0.weight": state["0.weight"].flip(0).contiguous()}))


def tensor_twice_as_large(folder: Path) -> None:
    change(folder, 6, lambda state: state.update({"4.weight": 2 * state["4.weight"]}))


def half_a_shard(folder: Path) -> None:
    file = folder / "step6" / SHARDS[1]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def last_under_the_name_of_the_first(folder: Path) -> None:
    shutil.rmtree(folder / "step0")
    shutil.copytree(folder / f"step{STEPS - 1}", folder / "step0")


def one_shard_of_another(folder: Path) -> None:
    shutil.copy(folder / "step9" / SHARDS[0], folder / "step4" / SHARDS[0])


def equal_under_another_name(folder: Path) -> None:
    shutil.rmtree(folder / "step7")
    shutil.copytree(folder / "step3", folder / "step7")


def equal_in_one_file(folder: Path) -> None:
    """The same tensors, written as one file: no hash of a file is that of another."""
    state = read_weights(folder / "step3")
    shutil.rmtree(folder / "step7")
    (folder / "step7").mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(folder / "step3" / name, folder / "step7" / name)
    write_weights(folder / "step7" / "model.safetensors", state, {"format": "pt"})


def other_type(folder: Path) -> None:
    state = read_weights(folder / "step6")
    shutil.rmtree(folder / "step6")
    write(folder / "step6", {n: t.to(torch.bfloat16) for n, t in state.items()})


def renamed(folder: Path) -> None:
    state = read_weights(folder / "step6")
    shutil.rmtree(folder / "step6")
    write(folder / "step6", {n.replace("4.weight", "4.kernel"): t for n, t in state.items()})


def absent_shard(folder: Path) -> None:
    (folder / "step6" / SHARDS[1]).unlink()


def lying_header(folder: Path, change: Callable[[dict], None]) -> None:
    file = folder / "step6" / SHARDS[0]
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    change(header)
    new = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(new)) + new + content[8 + size :])


def longer(header: dict) -> None:
    header["0.weight"]["shape"][0] += 1


def overlapping(header: dict) -> None:
    header["1.weight"]["data_offsets"] = header["1.bias"]["data_offsets"]


def transposed(header: dict) -> None:
    header["2.weight"]["shape"].reverse()


def endless(folder: Path) -> None:
    file = folder / "step6" / SHARDS[0]
    file.write_bytes(struct.pack("<Q", 2**60) + file.read_bytes()[8:])


def out_of_order(folder: Path) -> None:
    (folder / "step4").rename(folder / "kept")
    (folder / "step9").rename(folder / "step4")
    (folder / "kept").rename(folder / "step9")


def one_merge(folder: Path) -> None:
    other = {"model": {**TOKENIZER["model"], "merges": [["b", "a"], ["a", "b"]]}}
    (folder / "step5" / "tokenizer.json").write_text(json.dumps(other))


PLANTED = {
    "one shard of another": (one_shard_of_another, "mixed", {"step4", "step9"}),
    "equal under another name": (equal_under_another_name, "same_weights", {"step3", "step7"}),
    "equal in one file": (equal_in_one_file, "same_weights", {"step3", "step7"}),
    "bf16 between fp32": (other_type, "dtype", {"step6"}),
    "a tensor renamed": (renamed, "tensors", {"step6"}),
    "an index that lists an absent shard": (absent_shard, "broken", {"step6"}),
    "a header with a longer shape": (partial(lying_header, change=longer), "broken", {"step6"}),
    "a header whose tensors overlap": (partial(lying_header, change=overlapping), "broken", {"step6"}),
    "a header with a transposed shape": (partial(lying_header, change=transposed), "tensors", {"step6"}),
    "a header without an end": (endless, "broken", {"step6"}),
    "a shard of a run with another seed": (shard_of_another_seed, "jump", {"step6"}),
    "a tensor in another order": (tensor_in_another_order, "jump", {"step6"}),
    "a tensor twice as large": (tensor_twice_as_large, "jump", {"step6"}),
    "half a shard": (half_a_shard, "broken", {"step6"}),
    "the last under the name of the first": (last_under_the_name_of_the_first, "same_weights", {"step0", "step11"}),
    "names out of order": (out_of_order, "foreign", {"step4", "step9"}),
    "one merge of the tokenizer": (one_merge, "tokenizer", {"step5"}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named_and_nothing_else(name: str, folder: Path) -> None:
    plant, kind, revisions = PLANTED[name]
    plant(folder)
    found = faults(folder)
    assert {k for k, _ in found} == {kind}, found
    assert {r for _, named in found for r in named} == revisions, found


@pytest.mark.parametrize("shard", [0, 1])
@pytest.mark.parametrize(("one", "other"), [(5, 8), (4, 5), (0, 6), (1, 10), (3, 11)])
def test_both_of_two_that_exchanged_a_shard_are_named(one: int, other: int, shard: int, folder: Path) -> None:
    """No digest tells: neither shard lies where it belongs, and those between them are innocent."""
    swap_shards(folder, one, other, shard)
    pair = (f"step{one}", f"step{other}")
    assert faults(folder) == [("mixed", pair), ("mixed", pair[::-1])]


def test_two_pairs_that_exchanged_a_shard(folder: Path) -> None:
    swap_shards(folder, 2, 9)
    swap_shards(folder, 5, 7, 0)
    assert {frozenset(r) for _, r in faults(folder)} == {frozenset(("step2", "step9")), frozenset(("step5", "step7"))}


@pytest.mark.parametrize("count", [STEPS, 2, 1])
def test_a_clean_series_of_any_length_is_silent(count: int, folder: Path) -> None:
    for number in range(count, STEPS):
        shutil.rmtree(folder / f"step{number}")
    assert faults(folder) == []


def test_two_checkpoints_that_are_one(folder: Path) -> None:
    for number in range(2, STEPS):
        shutil.rmtree(folder / f"step{number}")
    shutil.rmtree(folder / "step1")
    shutil.copytree(folder / "step0", folder / "step1")
    assert faults(folder) == [("same_weights", ("step0", "step1"))]
