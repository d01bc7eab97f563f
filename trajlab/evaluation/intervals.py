"""Which token counts of a run are looked at, and when one is due.

`Marks` holds them, `TokenSchedule` those of a training run, `token_schedule` makes one from a configuration. A mark is due at the first
optimizer step whose token count reaches it: with 4,096 tokens a step the mark of 1,000,000 is met at 1,003,520.
"""

from collections.abc import Sequence
from math import ceil

from trajlab.config.groups import IntervalsConfig
from trajlab.errors import UserError


class Marks:
    """Token counts at which something is measured, and the optimizer steps at which each is met.

    A series of published checkpoints has any marks, those of its checkpoints; a training run has a `TokenSchedule`.
    """

    def __init__(self, marks: Sequence[int], tokens_per_step: int) -> None:
        self.marks = tuple(int(m) for m in marks)
        self.tokens_per_step = tokens_per_step
        self.steps = tuple(ceil(m / tokens_per_step) for m in self.marks)
        self._index_at_step = {step: i for i, step in enumerate(self.steps)}

    def __len__(self) -> int:
        return len(self.marks)

    @property
    def final_step(self) -> int:
        """Optimizer steps of the whole run."""
        return self.steps[-1]

    @property
    def final_tokens(self) -> int:
        """Tokens of the whole run: the budget, rounded up to a full step."""
        return self.final_step * self.tokens_per_step

    def due(self, step: int) -> int | None:
        """The index of the mark that is due after ``step`` optimizer steps, or None."""
        return self._index_at_step.get(step)


class TokenSchedule(Marks):
    """The increasing token marks of a training run; the first is 0 (initialisation) and the last is the budget.

    Raises UserError when the marks don't increase, don't start at 0, or when two fall into one optimizer step.
    """

    def __init__(self, marks: Sequence[int], tokens_per_step: int) -> None:
        super().__init__(marks, tokens_per_step)
        if len(self.marks) < 2 or self.marks[0] != 0:
            raise UserError(f"intervals: the marks must start at 0 and go on to the budget, got {self.marks}")
        for a, b, step_a, step_b in zip(self.marks, self.marks[1:], self.steps, self.steps[1:], strict=False):
            if b <= a:
                raise UserError(f"intervals: the marks must increase, but {b:,} follows {a:,}")
            if step_a == step_b:
                raise UserError(
                    f"intervals: the marks {a:,} and {b:,} fall into one optimizer step of {self.tokens_per_step:,} tokens;"
                    " put the marks further apart or make the step smaller (data.windows_per_step)"
                )

    @classmethod
    def evenly(cls, budget_tokens: int, every_tokens: int, tokens_per_step: int) -> "TokenSchedule":
        """0, every, 2·every, …; the budget is the last mark whether or not it is a multiple."""
        marks = [*range(0, budget_tokens, every_tokens), budget_tokens]
        return cls(marks, tokens_per_step)

    @classmethod
    def geometric(cls, budget_tokens: int, first_tokens: int, count: int, tokens_per_step: int) -> "TokenSchedule":
        """0 and ``count`` marks in equal ratios from the first to the budget; those within one step become one."""
        import numpy as np  # refusals need this module, and most of them no numpy

        steps = np.geomspace(first_tokens, budget_tokens, count) / tokens_per_step
        marks = np.unique(np.maximum(np.round(steps), 1).astype(int)) * tokens_per_step
        marks = marks[marks < budget_tokens - tokens_per_step]
        return cls([0, *marks.tolist(), budget_tokens], tokens_per_step)


def token_schedule(config: IntervalsConfig, tokens_per_step: int) -> TokenSchedule:
    """The marks that the configuration asks for."""
    if config.marks is not None:
        if config.marks[-1:] != [config.budget_tokens]:
            raise UserError(f"intervals.marks must end at intervals.budget_tokens={config.budget_tokens:,}")
        return TokenSchedule(config.marks, tokens_per_step)
    if config.geometric is not None:
        return TokenSchedule.geometric(config.budget_tokens, **config.geometric, tokens_per_step=tokens_per_step)
    assert config.every_tokens is not None
    return TokenSchedule.evenly(config.budget_tokens, config.every_tokens, tokens_per_step)
