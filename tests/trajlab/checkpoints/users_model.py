"""What a user might bring: a model that trajlab has never heard of, and a class that leaves a trace when it is built."""

from typing import Any

import torch
from torch import Tensor, nn


class Bigram(nn.Module):
    """Each token predicts the next through a narrow layer; the head is tied to the embedding."""

    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embed = nn.Embedding(vocab_size, width)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("seen", torch.zeros(3))

    @property
    def head_weight(self) -> Tensor:
        """The embedding."""
        return self.head.weight

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """(B, T, D)."""
        return self.mix(self.embed(tokens_BT))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        return self.head(self.hidden(tokens_BT))


class Trace:
    """Notes that it was built."""

    built = 0

    def __init__(self, **_: Any) -> None:
        Trace.built += 1
