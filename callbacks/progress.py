"""A line that says how far a run is."""

import sys
import time
from typing import Any

import lightning as L

from trajlab.config.launch import jobs_side_by_side
from trajlab.evaluation.context import FinalLoss, RunCallback, training_module
from trajlab.evaluation.engine import RAW
from trajlab.terminal import duration, fitted


class Progress(RunCallback):
    """Tokens, losses, tokens per second and time left, on standard error.

    On a terminal one line is rewritten; elsewhere, and where jobs of a sweep share the terminal, a line is printed at
    every interval and every ``every_seconds``.
    """

    def __init__(self, every_seconds: float = 30.0) -> None:
        self.every_seconds = every_seconds
        self._started = self._shown = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Start the clock; a resumed run's speed is counted from here."""
        self._started, self._shown, self._first_step = time.perf_counter(), 0.0, trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Show the line if it is time."""
        now, terminal = time.perf_counter(), sys.stderr.isatty() and jobs_side_by_side(cores=2) == 1
        due = self.run.due(trainer.global_step) is not None
        if trainer.is_global_zero and (due or now - self._shown > (0.5 if terminal else self.every_seconds)):
            self._shown = now
            parts = self._parts(trainer.global_step, now, training_module(pl_module).train_loss)
            print(
                f"\r\033[K{' | '.join(parts.values()) if due else narrowed(parts)}"  # what stays may wrap
                if terminal
                else " | ".join(parts.values()),
                end="\n" if due or not terminal else "",
                file=sys.stderr,
                flush=True,
            )

    def _parts(self, step: int, now: float, train_loss: float) -> dict[str, str]:
        per_step, total = self.run.schedule.tokens_per_step, self.run.schedule.final_tokens
        speed = (step - self._first_step) * per_step / max(now - self._started, 1e-9)
        latest = self.run.latest
        evaluated = [f"{split} {loss:.4f}" for (split, variant), loss in latest.losses.items() if variant == RAW]
        return {
            "run": self.run.store.run,
            "tokens": f"{step * per_step:,} of {total:,} tokens ({step * per_step / total:.1%})",
            "losses": " ".join([f"loss {train_loss:.4f}", *evaluated]),
            **({"forecast": forecast_text(latest.forecast)} if latest.forecast else {}),
            "speed": f"{speed:,.0f} tokens/s",
            "left": f"{duration((total - step * per_step) / speed)} left",
        }


def narrowed(parts: dict[str, str]) -> str:
    """The parts as one line that fits the terminal: what can be spared goes first, how long it still takes never."""
    parts = dict(parts)
    for spared in ("speed", "forecast", "tokens", "losses"):
        if (line := " | ".join(parts.values())) == fitted(line):
            return line
        if spared == "tokens":
            parts["tokens"] = parts["tokens"].rpartition("(")[2].rstrip(")")  # 51.2 %
        else:
            parts.pop(spared, None)
    return fitted(" | ".join(parts.values()))


def forecast_text(final: FinalLoss) -> str:
    """The final loss to be expected with its calibrated band of 90 %, and what it means for the run's target."""
    words = f"will end at {final.loss:.3f} [{final.low:.3f}, {final.high:.3f}]"
    reaches = "" if final.reaches is None else f", target {final.reaches:.0%} likely"
    cooldown = "" if final.cooldown is None else f", {final.cooldown:.3f} by a cooldown now"
    return words + reaches + cooldown
