"""The Llama-style decoder: RMSNorm, rotary positions, SwiGLU, optional grouped queries, tied or untied head.

`LlamaModel` is what is trained; `trajlab.models.llama_shape` says beforehand how large it will be. The rotary convention is that of
``transformers.LlamaForCausalLM`` (halves, not pairs), so that `trajlab.checkpoints.convert` exchanges weights with it.
Shapes: B windows, T positions, D width, H query heads, G key-value heads, E head width, F hidden width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trajlab.models.llama_shape import LlamaConfig


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, c: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.groups, self.head_width = c.heads, c.groups, c.head_width
        self.q_proj = nn.Linear(c.width, c.heads * c.head_width, bias=False)
        self.k_proj = nn.Linear(c.width, c.groups * c.head_width, bias=False)
        self.v_proj = nn.Linear(c.width, c.groups * c.head_width, bias=False)
        self.o_proj = nn.Linear(c.heads * c.head_width, c.width, bias=False)

    def forward(self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """Mix the positions; each sees itself and the earlier ones."""
        B, T, _ = x_BTD.shape
        q_BHTE = rotate(self.q_proj(x_BTD).view(B, T, self.heads, self.head_width).transpose(1, 2), rotary)
        k_BGTE = rotate(self.k_proj(x_BTD).view(B, T, self.groups, self.head_width).transpose(1, 2), rotary)
        v_BGTE = self.v_proj(x_BTD).view(B, T, self.groups, self.head_width).transpose(1, 2)
        grouped = self.groups != self.heads
        y_BHTE = F.scaled_dot_product_attention(q_BHTE, k_BGTE, v_BGTE, is_causal=True, enable_gqa=grouped)
        return self.o_proj(y_BHTE.transpose(1, 2).reshape(B, T, -1))


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x))."""

    def __init__(self, c: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(c.width, c.hidden, bias=False)
        self.up_proj = nn.Linear(c.width, c.hidden, bias=False)
        self.down_proj = nn.Linear(c.hidden, c.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform each position by itself."""
        return self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))


class Block(nn.Module):
    """Attention and SwiGLU, each after a norm and added to the stream."""

    def __init__(self, c: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(c.width, eps=c.norm_eps)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = nn.RMSNorm(c.width, eps=c.norm_eps)
        self.mlp = SwiGLU(c)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """One layer."""
        x_BTD = x_BTD + self.dropout(self.self_attn(self.input_layernorm(x_BTD), rotary))
        return x_BTD + self.dropout(self.mlp(self.post_attention_layernorm(x_BTD)))


class LlamaModel(nn.Module):
    """Token ids in, logits out.

    Initial weights: normal with sd 0.02, the projections that write into the residual stream (o_proj, down_proj) with
    0.02/√(2·layers), norms 1. All draws come from ``generator``, in the order of ``named_parameters``.
    """

    cos_TE: Tensor
    sin_TE: Tensor

    def __init__(self, generator: torch.Generator | None = None, **shape: Any) -> None:
        super().__init__()
        self.config = c = LlamaConfig(**shape)
        self.vocab_size = c.vocab_size
        self.embed_tokens = nn.Embedding(c.vocab_size, c.width)
        self.dropout = nn.Dropout(c.dropout)
        self.layers = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = nn.RMSNorm(c.width, eps=c.norm_eps)
        self.lm_head = None if c.tie_embeddings else nn.Linear(c.width, c.vocab_size, bias=False)
        cos_TE, sin_TE = rotary_table(c.context, c.head_width, c.rope_theta)
        self.register_buffer("cos_TE", cos_TE, persistent=False)
        self.register_buffer("sin_TE", sin_TE, persistent=False)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(1.0)
                continue
            into_stream = name.endswith(("o_proj.weight", "down_proj.weight"))
            sd = 0.02 / (2 * self.config.layers) ** 0.5 if into_stream else 0.02
            parameter.normal_(0.0, sd, generator=generator)

    @property
    def head_weight(self) -> Tensor:
        """The (V, D) output matrix: the embedding itself when tied."""
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """Normalised hidden states (B, T, D) of tokens (B, T)."""
        T = tokens_BT.shape[1]
        if self.cos_TE.shape[0] < T:
            self.cos_TE, self.sin_TE = (
                t.to(self.cos_TE) for t in rotary_table(T, self.config.head_width, self.config.rope_theta)
            )
        rotary = self.cos_TE[:T], self.sin_TE[:T]
        x_BTD = self.dropout(self.embed_tokens(tokens_BT))
        for layer in self.layers:
            x_BTD = layer(x_BTD, rotary)
        return self.norm(x_BTD)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        return F.linear(self.hidden(tokens_BT), self.head_weight)


def rotary_table(length: int, head_width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, (T, E) each, the second half of E repeating the first."""
    frequency = theta ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency).repeat(1, 2)
    return angle.cos(), angle.sin()


def rotate(x_BHTE: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate each pair (e, e + E/2) by its position's angle."""
    cos_TE, sin_TE = rotary
    first, second = x_BHTE.chunk(2, dim=-1)
    return x_BHTE * cos_TE + torch.cat((-second, first), dim=-1) * sin_TE
