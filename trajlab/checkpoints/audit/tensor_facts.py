"""Facts of each tensor of a checkpoint: digest, norm, and a sample of its values to measure distances by.

Two checkpoints of a large model don't fit into memory beside each other, samples of them do: up to `SAMPLE` values at
places that are a function of the tensor's name and size alone, so that they are the same places in every checkpoint.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trajlab.checkpoints.weights import tensor_bytes, tensors, weight_files

SAMPLE = 1 << 16
"""Values of a tensor that distances are estimated from **(ours)**: the relative standard error is about 1/√(2·65,536)."""


@dataclass(frozen=True)
class TensorFacts:
    """One tensor of one checkpoint."""

    file: str
    """The weight file that holds it."""
    dtype: str
    shape: tuple[int, ...]
    digest: str
    """Of type, shape and values."""
    norm: float
    """Square root of the sum of squares; NaN where a value is not finite."""
    nonfinite: int
    """Values that are NaN or infinite."""
    zero: bool
    """Whether every value is zero."""
    sample_N: np.ndarray
    """Float64 values at fixed places; all of them where there are few. Empty for integers and booleans."""

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))


def read_facts(path: Path) -> dict[str, TensorFacts]:
    """Facts of all tensors in a folder's weight files, or in one file, by name. One tensor is in memory at a time."""
    return {name: _facts(file.name, name, t) for file in weight_files(path) for name, t in tensors(file)}


def _facts(file: str, name: str, tensor: Tensor) -> TensorFacts:
    flat = tensor.contiguous().reshape(-1)
    digest = hashlib.blake2b(f"{tensor.dtype}|{tuple(tensor.shape)}".encode(), digest_size=16)
    digest.update(tensor_bytes(flat))
    floating = tensor.dtype.is_floating_point
    nonfinite = int((~torch.isfinite(flat.float())).sum()) if floating else 0
    norm = float(torch.linalg.vector_norm(flat.double())) if floating else float("nan")
    sample = flat[_places(name, len(flat))].double().numpy() if floating else np.empty(0)
    zero = bool((flat == 0).all()) if len(flat) else False
    dtype = str(tensor.dtype).removeprefix("torch.")
    return TensorFacts(file, dtype, tuple(tensor.shape), digest.hexdigest(), norm, nonfinite, zero, sample)


def _places(name: str, size: int) -> Tensor:
    if size <= SAMPLE:
        return torch.arange(size)
    seed = int.from_bytes(hashlib.blake2b(f"{name}|{size}".encode(), digest_size=8).digest(), "little")
    return torch.from_numpy(np.sort(np.random.default_rng(seed).integers(0, size, SAMPLE)))


def distance(a: TensorFacts, b: TensorFacts) -> float:
    """Euclidean distance of two tensors, from their samples; NaN where they have none or differ in shape."""
    if a.shape != b.shape or not len(a.sample_N) or a.nonfinite or b.nonfinite:
        return float("nan")
    return float(np.linalg.norm(a.sample_N - b.sample_N) * np.sqrt(a.size / len(a.sample_N)))


def distances(along_C: Sequence[TensorFacts]) -> np.ndarray:
    """(C, C): the `distance` of each two of a tensor's states, all of one shape and finite."""
    states_CN = np.stack([f.sample_N for f in along_C]).astype(np.float64)
    states_CN -= states_CN.mean(0)  # so that what all have in common takes no digits
    products_CC = states_CN @ states_CN.T
    squares_C = np.diag(products_CC)
    squares_CC = np.maximum(squares_C[:, None] + squares_C - 2 * products_CC, 0.0)
    np.fill_diagonal(squares_CC, 0.0)
    return np.sqrt(squares_CC * along_C[0].size / states_CN.shape[1])


def relation(a: TensorFacts, b: TensorFacts) -> float:
    """How far the correlation of two tensors is from chance, in standard errors: under independence about normal(0, 1).

    A matrix drawn at random is independent of every tensor that wasn't trained from it, so this tells a descendant.
    """
    x, y = a.sample_N - a.sample_N.mean(), b.sample_N - b.sample_N.mean()
    scale = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y / scale * np.sqrt(len(x))) if scale else float("nan")


Facts = Mapping[str, TensorFacts]
"""Of one checkpoint, by tensor."""
