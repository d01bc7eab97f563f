"""Named random generators: each purpose has its own stream, and nothing draws from the global one.

``init`` draws the initial weights, ``order`` the order of the training windows, ``offset`` where they are cut, ``dropout`` seeds the global generator
that torch's dropout insists on, ``sample`` generation. Changing how much one purpose draws leaves the others as they were.
"""

import hashlib

import numpy as np
import torch

PURPOSES = ("init", "order", "offset", "dropout", "sample", "disturbance")


def seed_of(purpose: str, seed: int) -> int:
    """A 63-bit seed, a pure function of the purpose and of the run's seed."""
    if purpose not in PURPOSES:
        raise ValueError(f"no generator is named {purpose!r}; the names are {', '.join(PURPOSES)}")
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def torch_generator(purpose: str, seed: int) -> torch.Generator:
    """A fresh CPU generator for the purpose."""
    return torch.Generator().manual_seed(seed_of(purpose, seed))


def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of ``n`` windows in an epoch: a permutation that depends on (seed, epoch, n) alone."""
    return np.random.default_rng([seed_of("order", seed), epoch]).permutation(n)


def epoch_offset(seed: int, epoch: int, context: int) -> int:
    """How many tokens the windows of an epoch are moved on, 0 … context − 1: depends on (seed, epoch, context) alone."""
    return int(np.random.default_rng([seed_of("offset", seed), epoch]).integers(context))
