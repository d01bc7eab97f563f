"""The weights in a folder of transformers: found, read without running code, hashed.

`weights_hash` is a hash of the tensors alone (names, types, shapes, values): another split into shards or another file
format leaves it as it is. `distinct_tensors` is a model's state with tied tensors once. Safetensors is preferred; a pickle is opened only in the mode that refuses to run code.
"""

import hashlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from trajlab.errors import UserError

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def weight_files(folder: Path) -> list[Path]:
    """The folder's weight files in order: safetensors where there are any, pickles otherwise.

    Raises UserError where there are none, or where an index names a shard that is absent.
    """
    for index, pattern in zip(INDEXES, ("*.safetensors", "pytorch_model*.bin"), strict=True):
        found = sorted(folder.glob(pattern))
        if (folder / index).is_file():
            named = set(json.loads((folder / index).read_text())["weight_map"].values())
            if absent := sorted(named - {p.name for p in found}):
                raise UserError(f"{folder}: {index} names {', '.join(absent[:3])}, which is not there; fetch it again")
            return [folder / name for name in sorted(named)]
        if found:
            return found
    raise UserError(f"{folder} holds no weights (*.safetensors or pytorch_model*.bin); give a folder of transformers")


def tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a weight file, one in memory at a time. Raises UserError for a broken or unsafe one."""
    if file.suffix == ".safetensors":
        yield from _safetensors(file)
        return
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as e:
        raise UserError(
            f"{file} is refused: it is not a plain file of weights, reading it would run code ({_first_line(e)}); "
            "convert it to safetensors where you trust it"
        ) from e
    except (RuntimeError, EOFError, OSError) as e:
        raise UserError(f"{file} can't be read ({_first_line(e)}); remove it and fetch it again") from e
    yield from ((name, t) for name, t in state.items() if isinstance(t, Tensor))


def _safetensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                yield name, opened.get_tensor(name)
    except (SafetensorError, OSError) as e:
        raise UserError(
            f"{file} can't be read ({_first_line(e)}): it is truncated or no safetensors file; remove it and fetch it again"
        ) from e


def weights_hash(folder: Path) -> str:
    """A hash of all tensors in the folder's weight files."""
    digests = {}
    for file in weight_files(folder):
        for name, tensor in tensors(file):
            digest = hashlib.blake2b(f"{tensor.dtype}|{tuple(tensor.shape)}".encode(), digest_size=16)
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            digests[name] = digest.hexdigest()
    return hashlib.blake2b(json.dumps(sorted(digests.items())).encode(), digest_size=12).hexdigest()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def distinct_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state by name, a tensor with several names under the first."""
    seen: set[int] = set()
    state = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = tensor
    return state
