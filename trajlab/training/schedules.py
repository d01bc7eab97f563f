"""Learning rates as a function of tokens seen: a factor in [0, 1] on the optimizer's rate.

Each schedule is a pure function, so nothing about it has to be stored or restored.
"""

from dataclasses import dataclass
from math import cos, pi


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then `after_warmup`; here it stays at 1."""

    budget_tokens: int
    warmup_tokens: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_tokens < self.budget_tokens:
            raise ValueError(
                f"warmup_tokens must be at least 0 and below the budget of {self.budget_tokens:,}, got {self.warmup_tokens:,}"
            )

    def __call__(self, tokens: int) -> float:
        """The factor for the optimizer step that ends at ``tokens``; past the budget it keeps its last value."""
        if tokens < self.warmup_tokens:
            return tokens / self.warmup_tokens
        span = self.budget_tokens - self.warmup_tokens
        return self.after_warmup(min((tokens - self.warmup_tokens) / span, 1.0))

    def after_warmup(self, progress: float) -> float:
        """The factor at a share of the tokens after the warm-up."""
        return 1.0


@dataclass(frozen=True)
class Constant(Schedule):
    """Warm-up, then constant."""


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 to ``final_ratio`` at the budget."""

    final_ratio: float = 0.1

    def after_warmup(self, progress: float) -> float:
        """Half a cosine."""
        return self.final_ratio + (1 - self.final_ratio) * 0.5 * (1 + cos(pi * progress))


@dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    """Constant, then linear to ``final_ratio`` over the last ``decay_share`` of the tokens after warm-up (WSD)."""

    decay_share: float = 0.2
    final_ratio: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay_share <= 1:
            raise ValueError(f"decay_share must be in (0, 1], got {self.decay_share}")

    def after_warmup(self, progress: float) -> float:
        """1, then a straight line."""
        into_decay = (progress - (1 - self.decay_share)) / self.decay_share
        return 1 - (1 - self.final_ratio) * max(into_decay, 0.0)
