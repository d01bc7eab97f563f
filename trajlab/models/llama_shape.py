"""The numbers that make a `trajlab.models.llama.LlamaModel`; judged and counted without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LlamaConfig:
    """Shape of a `LlamaModel`. Raises ValueError, naming the key, when the numbers don't go together."""

    vocab_size: int = 4096
    width: int = 256
    layers: int = 4
    heads: int = 8
    kv_heads: int | None = None
    """Key-value heads; None: as many as heads. Fewer give grouped-query attention."""
    hidden: int = 704
    """Width inside the SwiGLU."""
    context: int = 256
    """Longest context in training; nothing in the weights depends on it."""
    tie_embeddings: bool = True
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    dropout: float = 0.0
    """Dropped share of the embedding and of each residual branch, in training."""

    def __post_init__(self) -> None:
        for key in ("vocab_size", "width", "layers", "heads", "hidden", "context"):
            if not isinstance(value := getattr(self, key), int) or value < 1:
                raise ValueError(f"{key} must be a whole number, at least 1, got {value!r}")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} over {self.heads} heads must be an even number")
        if self.kv_heads is not None and self.kv_heads < 1:
            raise ValueError(f"kv_heads must be at least 1, or null for as many as heads, got {self.kv_heads}")
        if self.heads % self.groups:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def groups(self) -> int:
        """Key-value heads."""
        return self.kv_heads or self.heads

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads


def parameter_count(config: LlamaConfig) -> int:
    """Trainable parameters, a tied head counted once."""
    kv = config.groups * config.head_width
    block = 2 * config.width**2 + 2 * config.width * kv + 3 * config.width * config.hidden + 2 * config.width
    tables = config.vocab_size * config.width * (1 if config.tie_embeddings else 2)
    return tables + config.layers * block + config.width
