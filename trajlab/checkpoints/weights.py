"""Weights on disk: one finder, one reader, one writer, a hash.

`weight_files` finds them in a folder, `tensors` and `read_weights` read them without running code, `write_weights`
writes the same bytes for the same tensors and metadata, `weights_hash` is a hash of the tensors alone (names, types,
shapes, values): another split into shards or another file format leaves it as it is. Safetensors is preferred; a
pickle is opened only in the mode that refuses to run code. `trajlab.checkpoints.slices` reads and writes parts of a
tensor of the same files. The format: eight bytes with the header's length, the header (JSON), the tensors' bytes.
"""

import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from trajlab.errors import UserError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""By the names of the format."""
NAMES = {dtype: name for name, dtype in DTYPES.items()}
METADATA = "__metadata__"


# ---- found


def weight_files(path: Path, *, pickles: bool = True) -> list[Path]:
    """The weight files of a checkpoint in order: a file itself; of a folder, safetensors before pickles.

    An index decides where there is one; else ``model.safetensors`` (``pytorch_model.bin``) or the only file. Raises
    UserError where there are none, where several lie there without an index and where an index names an absent shard.
    """
    if path.is_file():
        return [path]
    kinds = [("*.safetensors", "model.safetensors"), ("pytorch_model*.bin", "pytorch_model.bin")]
    for pattern, usual in kinds[: 2 if pickles else 1]:
        if indexes := sorted(path.glob(f"{pattern}.index.json")):
            return _shards(indexes[0])
        found = sorted(path.glob(pattern))
        if len(found) > 1 and path / usual not in found:
            names = ", ".join(f.name for f in found[:3])
            raise UserError(
                f"{path} holds several weight files and no index ({names}, …); add the index, or merge them"
            )
        if found:
            return [path / usual] if path / usual in found else found
    if pickles:
        raise UserError(f"{path} holds no weights (*.safetensors or pytorch_model*.bin); give a folder of transformers")
    raise UserError(f"{path} holds no safetensors; convert the checkpoint (save_pretrained writes them)")


def _shards(index: Path) -> list[Path]:
    try:
        named = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as e:
        raise UserError(f"{index} is no index of weight files ({_first_line(e)}); fetch it again") from e
    if outside := [name for name in named if Path(name).name != name]:
        raise UserError(f"{index} names {outside[0]}, which lies outside its folder; fetch it again")
    if absent := [name for name in named if not (index.parent / name).is_file()]:
        raise UserError(f"{index} names {', '.join(absent[:3])}, which is not there; fetch it again")
    return [index.parent / name for name in named]


# ---- read


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, a file or a folder, by name."""
    return {name: tensor for file in weight_files(path) for name, tensor in tensors(file)}


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


def read_metadata(file: Path) -> dict[str, str]:
    """What a safetensors file says about itself. Raises UserError for a broken one."""
    return read_header(file)[0].get(METADATA, {})


def read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file and the offset of its data. Raises UserError unless the file is as long as it says."""
    try:
        with file.open("rb") as opened:
            size = file.stat().st_size
            length = int.from_bytes(opened.read(8), "little")
            if length > size:
                raise ValueError("the header is longer than the file")
            header = json.loads(opened.read(length))
        end = max((spec["data_offsets"][1] for name, spec in header.items() if name != METADATA), default=0)
    except OSError as e:
        raise UserError(f"{file} can't be read ({_first_line(e)}); give a file that is there") from e
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as e:
        raise UserError(f"{file} is no safetensors file ({e}); give one that is whole") from e
    if 8 + length + end != size:
        raise UserError(f"{file} has {size:,} bytes where its header asks for {8 + length + end:,}; fetch it again")
    return header, 8 + length


# ---- written


def write_weights(file: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file: the same bytes for the same tensors and metadata, in whatever order they come.

    Tensors lie as the format asks, wide types first. A tensor that has two names is written twice: name it once.
    """
    ordered = sorted(weights.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.dtype.itemsize
        header[name] = {"dtype": _dtype_name(name, tensor), "shape": list(tensor.shape), "data_offsets": [start, end]}
    with file.open("wb") as opened:
        write_header(opened, header)
        for _, tensor in ordered:
            opened.write(tensor_bytes(tensor.detach().cpu().contiguous().reshape(-1)))


def write_header(opened: BinaryIO, header: Mapping[str, Any]) -> int:
    """Write a header, its metadata sorted, so that the data start at a multiple of eight bytes; where they start."""
    metadata = {METADATA: dict(sorted(header[METADATA].items()))} if METADATA in header else {}
    text = json.dumps(
        {**metadata, **{k: v for k, v in header.items() if k != METADATA}}, separators=(",", ":")
    ).encode()
    text += b" " * (-len(text) % 8)
    opened.write(len(text).to_bytes(8, "little") + text)
    return 8 + len(text)


def tensor_bytes(flat: Tensor) -> memoryview:
    """The memory of a flat, contiguous tensor on the CPU."""
    return memoryview(cast(Any, flat.view(torch.uint8).numpy()))


def _dtype_name(name: str, tensor: Tensor) -> str:
    if tensor.dtype not in NAMES:
        raise UserError(f"{name} is of type {tensor.dtype}, which a safetensors file can't hold; convert it")
    return NAMES[tensor.dtype]


def distinct_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state by name, a tensor with several names under the first."""
    seen: set[int] = set()
    state = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = tensor
    return state


# ---- hashed


def weights_hash(folder: Path) -> str:
    """A hash of all tensors in the folder's weight files."""
    digests = {}
    for file in weight_files(folder):
        for name, tensor in tensors(file):
            digest = hashlib.blake2b(f"{tensor.dtype}|{tuple(tensor.shape)}".encode(), digest_size=16)
            digest.update(tensor_bytes(tensor.contiguous().reshape(-1)))
            digests[name] = digest.hexdigest()
    return hashlib.blake2b(json.dumps(sorted(digests.items())).encode(), digest_size=12).hexdigest()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
