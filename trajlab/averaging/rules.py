"""The arithmetic of weight averages (docs/methods.md §4), the same for a run in progress and for files.

`lawa`, `ema`, `swa` and `merge` make an `Averager`: a rule, how often it takes the weights, and its name. A rule keeps
one running average per tensor (`Rule.start`); whoever feeds tensors to it in the same order gets the same bits, be it
callbacks.checkpoint_averaging step by step or `trajlab.averaging.over_files` chunk by chunk of a file. Averages are
float32, whatever the weights' own precision; windows and plain means are summed in float64, oldest first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi, sqrt
from typing import Any

from trajlab.averaging.running import Rule, RunningExponential, RunningMean, RunningWindow

__all__ = ["Averager", "decay_weights", "ema", "lawa", "merge", "merging_weights", "swa"]


@dataclass(frozen=True)
class Window:
    """A weighted mean of the last ``length`` snapshots, of fewer at the start."""

    length: int
    profile: Callable[[int], Sequence[float]] | None = None
    """Weights of n snapshots, oldest first, summing to 1; None: equal."""

    @property
    def span(self) -> float:
        """Snapshots that a full window holds."""
        return self.length

    def start(self) -> "RunningWindow":
        """An empty window."""
        return RunningWindow(self.length, self.profile)

    def weights(self, n: int) -> list[float]:
        """Zero outside the window."""
        inside = min(n, self.length)
        profile = list(self.profile(inside)) if self.profile else [1 / inside] * inside
        return [0.0] * (n - inside) + profile


@dataclass(frozen=True)
class Mean:
    """The plain mean of all snapshots (SWA)."""

    def start(self) -> "RunningMean":
        """An empty mean."""
        return RunningMean()

    def weights(self, n: int) -> list[float]:
        """All the same."""
        return [1 / n] * n


@dataclass(frozen=True)
class Exponential:
    """An exponential moving average; with ``warmup`` its weights are divided by their sum, as Adam's moments are."""

    decay: float
    warmup: bool = True
    """Off: the first snapshot is the average's start and keeps its weight, as in torch.optim.swa_utils."""

    @property
    def span(self) -> float:
        """Snapshots that an equal-weighted window of the same weight on the newest would hold: 1 / (1 − decay)."""
        return 1 / (1 - self.decay)

    def start(self) -> "RunningExponential":
        """An empty average."""
        return RunningExponential(self.step)

    def step(self, n: int) -> float:
        """How far the average moves towards the n-th snapshot, counted from 1."""
        if n == 1:
            return 1.0
        return (1 - self.decay) / (1 - self.decay**n) if self.warmup else 1 - self.decay

    def weights(self, n: int) -> list[float]:
        """Falling by the decay into the past."""
        weights: list[float] = []
        for i in range(1, n + 1):
            step = self.step(i)
            weights = [w * (1 - step) for w in weights] + [step]
        return weights


# ---- merging simulates decay


def merging_weights(decayed: Sequence[float]) -> list[float]:
    """What each snapshot 0 … k counts for, so that their mean is the end of a run whose rate had decayed.

    ``decayed`` are w_1 ≥ … ≥ w_k in [0, 1]: the factors on the k updates between the snapshots. c_k = w_k,
    c_j = w_j − w_{j+1}, c_0 = 1 − w_1 (arXiv 2507.17634), so Σ c = 1 and Σ c_j·θ_j = θ_0 + Σ w_j·(θ_j − θ_{j−1}).
    Raises ValueError where the factors rise or leave [0, 1].
    """
    w = [1.0, *decayed, 0.0]
    if any(later > earlier for earlier, later in pairwise(w)):
        raise ValueError(f"the factors must not rise and must lie in [0, 1], got {list(decayed)}")
    return [earlier - later for earlier, later in pairwise(w)]


DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: 1 - x,
    "cosine": lambda x: 0.5 * (1 + cos(pi * x)),
    "inverse_sqrt": lambda x: 1 - sqrt(x),
}
"""Learning-rate factors at a share x of a decay from 1 to 0."""


def decay_weights(shape: str, updates: int) -> list[float]:
    """w_1 … w_k of a decay of that shape, each update at the middle of its share. Raises ValueError, naming the shapes."""
    if shape not in DECAYS:
        raise ValueError(f"decay shape {shape!r} is unknown; the shapes are {', '.join(DECAYS)}")
    return [DECAYS[shape]((j + 0.5) / updates) for j in range(updates)]


# ---- a rule, its cadence and its name


@dataclass(frozen=True)
class Averager:
    """A rule, how often it takes the weights, and the variant's name."""

    name: str
    rule: Rule
    every: int
    """Take the weights each time that so many ``unit`` have passed."""
    unit: str
    """``tokens`` or ``steps``."""
    first: int = 1
    """Not before so many ``unit``. 0 takes the initial weights too."""
    kind: str = "custom"
    """``lawa``, ``ema``, ``swa``, ``merge``, or what a plug-in calls its own."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.first < 0:
            raise ValueError(f"averager {self.name}: every must be at least 1 and start at least 0")

    def due(self, before: int, now: int) -> bool:
        """Whether a multiple of ``every``, from ``first`` on, lies in (before, now], counted in ``unit``."""
        return now // self.every > before // self.every and now >= self.first

    def facts(self, tokens_per_step: int | None) -> dict[str, Any]:
        """What a manifest says of it, so that a reader needs no rule of ours; docs/tables.md describes each entry.

        ``tokens_per_step`` None: an averager that counts steps has no entries in tokens.
        """
        size = 1 if self.unit == "tokens" else tokens_per_step
        snapshots, decay = getattr(self.rule, "span", None), getattr(self.rule, "decay", None)
        every = None if size is None else self.every * size
        return {
            "name": self.name,
            "kind": self.kind,
            "every_tokens": every,
            "start_tokens": None if size is None else self.first * size,
            "window_snapshots": snapshots,
            "decay": decay,
            "window_tokens": None if every is None or snapshots is None else snapshots * every,
        }


def lawa(
    k: int = 5, every_tokens: int | None = None, every_steps: int | None = None, start: int = 1, name: str | None = None
) -> Averager:
    """The mean of the last ``k`` snapshots, a sliding window (LAWA, arXiv 2306.03241)."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return Averager(name or f"lawa{k}", Window(k), *_cadence(every_tokens, every_steps), start, "lawa")


def ema(
    decay: float = 0.999,
    every_steps: int | None = None,
    every_tokens: int | None = None,
    warmup: bool = True,
    start: int = 1,
    name: str | None = None,
) -> Averager:
    """An exponential moving average, by default of every step, with a bias-correcting warm-up."""
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be in [0, 1), got {decay}")
    if every_steps is None and every_tokens is None:
        every_steps = 1
    return Averager(
        name or f"ema{decay:g}", Exponential(decay, warmup), *_cadence(every_tokens, every_steps), start, "ema"
    )


def swa(
    start: int, every_tokens: int | None = None, every_steps: int | None = None, name: str | None = None
) -> Averager:
    """The mean of all snapshots from ``start`` (in the unit of the cadence) on."""
    return Averager(name or "swa", Mean(), *_cadence(every_tokens, every_steps), start, "swa")


def merge(
    k: int = 5,
    decay: str = "linear",
    every_tokens: int | None = None,
    every_steps: int | None = None,
    start: int = 1,
    name: str | None = None,
) -> Averager:
    """The last ``k`` snapshots weighed so that a decay over the k − 1 updates between them is simulated."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    decay_weights(decay, 1)

    def profile(n: int) -> list[float]:
        return merging_weights(decay_weights(decay, n - 1))

    return Averager(
        name or f"merge{k}_{decay}", Window(k, profile), *_cadence(every_tokens, every_steps), start, "merge"
    )


def _cadence(every_tokens: int | None, every_steps: int | None) -> tuple[int, str]:
    if (every_tokens is None) == (every_steps is None):
        raise ValueError("give one of every_tokens and every_steps")
    return (every_tokens, "tokens") if every_tokens is not None else (every_steps, "steps")  # type: ignore[return-value]
