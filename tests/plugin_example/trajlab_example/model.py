"""A model: a body that gives hidden states and a linear head; trajlab does the rest."""

import torch
from torch import Tensor, nn


class BagOfWords(nn.Module):
    """Predicts the next token from the mean of the embeddings so far.

    The embedding starts small: with a standard deviation of 0.02 the first loss is near ln V, as it should be.
    """

    def __init__(self, vocab_size: int, width: int = 32) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.norm = nn.LayerNorm(width)

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """Hidden states (B, T, D)."""
        embedded_BTD = self.embedding(tokens_BT)
        count_T1 = torch.arange(1, tokens_BT.shape[1] + 1, device=tokens_BT.device)[:, None]
        return self.norm(embedded_BTD.cumsum(1) / count_T1)

    head_weight = property(lambda self: self.embedding.weight)  # (V, D), here tied to the embedding
