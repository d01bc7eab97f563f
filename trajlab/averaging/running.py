"""Averages kept while snapshots come in, one tensor at a time (docs/methods.md §4)."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Running(Protocol):
    """The average of one tensor so far."""

    def push(self, x: Tensor) -> None:
        """Take a snapshot's value; it is copied where it is kept."""
        ...

    def value(self) -> Tensor:
        """The average, float32. Raises ValueError before the first snapshot."""
        ...

    def state(self) -> dict[str, Any]:
        """Tensors and numbers that `load` takes up again."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, bit for bit."""
        ...


class Rule(Protocol):
    """How snapshots are weighed."""

    def start(self) -> Running:
        """An empty average of one tensor."""
        ...

    def weights(self, n: int) -> list[float]:
        """What each of ``n`` snapshots, oldest first, counts for in the average after the last; their sum is 1."""
        ...


class RunningWindow:
    """Keeps the window's snapshots, in their own precision, and sums them in float64 when asked."""

    def __init__(self, length: int, profile: Callable[[int], Sequence[float]] | None = None) -> None:
        self.profile = profile
        self.ring: deque[Tensor] = deque(maxlen=length)

    def push(self, x: Tensor) -> None:
        """The oldest leaves a full window."""
        # its memory is taken over, so that a window never costs more than its own snapshots
        full = len(self.ring) == self.ring.maxlen
        kept = self.ring.popleft() if full and self.ring[0].shape == x.shape else torch.empty_like(x)
        self.ring.append(kept.copy_(x))

    def value(self) -> Tensor:
        """Σ c·x, or Σ x / n for equal weights, so that one snapshot is itself."""
        if not self.ring:
            raise ValueError("no snapshot has been averaged yet")
        if self.profile is None:
            total = self.ring[0].double()
            for x in list(self.ring)[1:]:
                total += x
            return total.div_(len(self.ring)).float()
        weights = self.profile(len(self.ring))
        total = torch.zeros_like(self.ring[0], dtype=torch.float64)
        for weight, x in zip(weights, self.ring, strict=True):
            total.add_(x.double(), alpha=weight)
        return total.float()

    def state(self) -> dict[str, Any]:
        """The snapshots."""
        return {"ring": list(self.ring)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the snapshots up."""
        self.ring.extend(t.clone() for t in state["ring"])


class RunningMean:
    """Keeps the float64 sum."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def push(self, x: Tensor) -> None:
        """Add."""
        self.count += 1
        if self.total is None:
            self.total = x.to(torch.float64, copy=True)
        else:
            self.total += x

    def value(self) -> Tensor:
        """Σ x / n."""
        if self.total is None:
            raise ValueError("no snapshot has been averaged yet")
        return (self.total / self.count).float()

    def state(self) -> dict[str, Any]:
        """Sum and count."""
        return {"total": self.total, "count": self.count}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take them up."""
        self.total = None if state["total"] is None else state["total"].clone()
        self.count = state["count"]


class RunningExponential:
    """Keeps the float32 average."""

    def __init__(self, share: Callable[[int], float]) -> None:
        self.share = share
        """How far the average moves towards the n-th snapshot, counted from 1."""
        self.mean: Tensor | None = None
        self.count = 0

    def push(self, x: Tensor) -> None:
        """Move towards it."""
        self.count += 1
        if self.mean is None:
            self.mean = x.to(torch.float32, copy=True)
        else:
            self.mean.lerp_(x.to(torch.float32), self.share(self.count))

    def value(self) -> Tensor:
        """The average as it stands, a copy."""
        if self.mean is None:
            raise ValueError("no snapshot has been averaged yet")
        return self.mean.clone()

    def state(self) -> dict[str, Any]:
        """Average and count."""
        return {"mean": self.mean, "count": self.count}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take them up."""
        self.mean = None if state["mean"] is None else state["mean"].clone()
        self.count = state["count"]


class RunningAverages(Mapping[str, Tensor]):
    """An averager's running averages of a model's parameters: a mapping of names to float32 averages.

    A value is computed when it is asked for, so reading all of them one after another costs one tensor's memory.
    """

    def __init__(self, rule: Rule, device: torch.device | str | None = "cpu") -> None:
        self._rule, self._device = rule, device
        self._running: dict[str, Running] = {}

    @torch.no_grad()
    def push(self, parameters: Mapping[str, Tensor]) -> None:
        """Take the present values. Raises ValueError when the names are others than before."""
        if not self._running:
            self._running = {name: self._rule.start() for name in parameters}
        if differing := parameters.keys() ^ self._running.keys():
            raise ValueError(f"the model's parameters changed: {sorted(differing)[0]} came or went")
        for name, tensor in parameters.items():
            self._running[name].push(tensor.detach().to(self._device))

    def __getitem__(self, name: str) -> Tensor:
        return self._running[name].value()

    def __iter__(self) -> Iterator[str]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)

    def state(self) -> dict[str, Any]:
        """The state of every tensor's average."""
        return {name: running.state() for name, running in self._running.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from it."""
        self._running = {name: self._rule.start() for name in state}
        for name, running in self._running.items():
            running.load(state[name])
