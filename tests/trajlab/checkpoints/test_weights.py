"""Weights are hashed by value, broken files are named, code in pickles is not run."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.series_material import transformers_model, write_checkpoint
from trajlab.checkpoints.weights import read_metadata, weight_files, weights_hash
from trajlab.errors import UserError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("one") / "step1")


def test_the_hash_is_of_values_alone(checkpoint: Path, tmp_path: Path) -> None:
    model = transformers_model()
    model.save_pretrained(tmp_path / "shards", max_shard_size="20kB")
    state = load_file(checkpoint / "model.safetensors")
    (tmp_path / "pickle").mkdir()
    torch.save(state, tmp_path / "pickle" / "pytorch_model.bin")
    assert len(weight_files(tmp_path / "shards")) > 1
    assert weights_hash(checkpoint) == weights_hash(tmp_path / "shards") == weights_hash(tmp_path / "pickle")
    name = next(n for n, t in state.items() if t.ndim == 2)
    state[name][0, 0] = torch.nextafter(state[name][0, 0], torch.tensor(9.0))
    (tmp_path / "changed").mkdir()
    save_file(state, tmp_path / "changed" / "model.safetensors")
    assert weights_hash(tmp_path / "changed") != weights_hash(checkpoint)


def test_a_truncated_file_is_named(checkpoint: Path, tmp_path: Path) -> None:
    whole = (checkpoint / "model.safetensors").read_bytes()
    for length in (3, 100, len(whole) - 10):
        (tmp_path / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"model\.safetensors can't be read .*truncated.*fetch it again"):
            weights_hash(tmp_path)


class Malicious:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, legacy: bool) -> None:
    proof, file = tmp_path / "ran", tmp_path / "pytorch_model.bin"
    content = {"embed.weight": torch.zeros(2), "extra": Malicious(proof)}
    if legacy:
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file)
    with pytest.raises(UserError, match=r"pytorch_model\.bin (is refused|can't be read)"):
        weights_hash(tmp_path)
    assert not proof.exists()


def test_json_that_is_nested_too_deep_is_a_broken_file(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    (tmp_path / "model.safetensors").write_bytes(len(deep).to_bytes(8, "little") + deep)
    with pytest.raises(UserError, match=r"model\.safetensors is no safetensors file"):
        read_metadata(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_bytes(deep)
    with pytest.raises(UserError, match="is no index of weight files"):
        weight_files(tmp_path)


def test_an_absent_shard_is_named(tmp_path: Path) -> None:
    transformers_model().save_pretrained(tmp_path, max_shard_size="20kB")
    gone = sorted(tmp_path.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(UserError, match=f"names {gone.name}, which is not there"):
        weight_files(tmp_path)
