"""Whether seeds trained as one stacked model pay on a processor: ``python -m tests.benchmarks.ensemble``.

A small twin (0.13M parameters) in six seeds, each with windows of its own: one after the other, against weights stacked by
`torch.func` and a step under `vmap`. Both take the loss from whole logits by cross-entropy, since vmap can't look into a
`torch.autograd.Function` without its own rule; the step one after the other is also measured with trajlab's own loss. Short
turns in one process, in seconds of the clock and of the processor. Shapes: S seeds, B windows, T positions.
"""

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from trajlab.evaluation.nll import mean_loss
from trajlab.models.llama import LlamaModel

SHAPE = {"vocab_size": 512, "width": 64, "layers": 2, "heads": 4, "hidden": 176}
"""conf/model/llama_tiny.yaml with the small preset's vocabulary."""

Step = Callable[[Tensor], Tensor]
"""Windows (S, B, T + 1) in, one optimizer step of every seed, losses (S,) out."""


def models(seeds: int) -> list[LlamaModel]:
    """The seeds' initial models."""
    return [LlamaModel(torch.Generator().manual_seed(seed), **SHAPE) for seed in range(seeds)]


def adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The same for both: AdamW works on each weight by itself, so stacked weights are stepped as single ones are."""
    return torch.optim.AdamW(parameters, lr=3e-3, fused=True)


def logits_loss(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """The mean loss from whole logits."""
    return F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def one_after_the_other(seeds: int, *, own_loss: bool) -> Step:
    """A model and an optimizer for each seed; the loss as trajlab trains with it, or from whole logits."""
    made = [(model, adamw(list(model.parameters()))) for model in models(seeds)]

    def step(tokens_SBT: Tensor) -> Tensor:
        losses = []
        for (model, optimizer), tokens_BT in zip(made, tokens_SBT, strict=True):
            inputs, targets = tokens_BT[:, :-1], tokens_BT[:, 1:]
            if own_loss:
                loss = mean_loss(model.hidden(inputs), model.head_weight, targets)
            else:
                loss = logits_loss(model(inputs), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        return torch.stack(losses)

    return step


def stacked(seeds: int) -> Step:
    """All seeds in one model whose weights have S in front; gradients are clipped by each seed's own norm."""
    made = models(seeds)
    weights, buffers = stack_module_state([*made])
    parameters = {name: nn.Parameter(w.detach()) for name, w in weights.items()}
    optimizer = adamw(list(parameters.values()))

    def loss_of_one(p: dict[str, Tensor], b: dict[str, Tensor], tokens_BT: Tensor) -> Tensor:
        return logits_loss(functional_call(made[0], (p, b), (tokens_BT[:, :-1],)), tokens_BT[:, 1:])

    losses_of_all = vmap(loss_of_one)

    def step(tokens_SBT: Tensor) -> Tensor:
        losses_S: Tensor = losses_of_all(parameters, buffers, tokens_SBT)
        losses_S.sum().backward()
        gradients = [p.grad for p in parameters.values() if p.grad is not None]
        norm_S = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        factor_S = (1.0 / (norm_S + 1e-6)).clamp(max=1.0)
        for g in gradients:
            g.mul_(factor_S.view(-1, *[1] * (g.ndim - 1)))
        optimizer.step()
        optimizer.zero_grad()
        return losses_S.detach()

    return step


def timed(step: Step, tokens_SBT: Tensor, steps: int) -> tuple[float, float]:
    """Seconds of the clock and of the processor for a step of all seeds."""
    step(tokens_SBT)
    wall, used = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step(tokens_SBT)
    return (time.perf_counter() - wall) / steps, (time.process_time() - used) / steps


def main() -> None:
    """Check that the trajectories agree, measure in turns and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5, help="of a turn")
    parser.add_argument("--rounds", type=int, default=8)
    o = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    tokens_SBT = torch.randint(0, SHAPE["vocab_size"], (o.seeds, o.windows, o.context + 1), generator=generator)
    single, together = one_after_the_other(o.seeds, own_loss=False), stacked(o.seeds)
    apart = max(float((single(tokens_SBT) - together(tokens_SBT)).abs().max()) for _ in range(10))
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; losses of 10 steps agree to {apart:.1e}")
    ways = {
        "one after the other": one_after_the_other(o.seeds, own_loss=True),
        "the same, loss from whole logits": single,
        "stacked": together,
    }
    rounds = [{name: timed(step, tokens_SBT, o.steps) for name, step in ways.items()} for _ in range(o.rounds)]
    print(f"{'way':<34} {'clock ms':>9} {'processor ms':>13} {'speed of the first, clock':>27} {'processor':>10}")
    for name in ways:
        ms = [median(r[name][i] for r in rounds) * 1e3 for i in (0, 1)]
        faster = [[r["one after the other"][i] / r[name][i] for r in rounds] for i in (0, 1)]
        shown = [f"{median(f):.2f} [{min(f):.2f}, {max(f):.2f}]" for f in faster]
        print(f"{name:<34} {ms[0]:>9.1f} {ms[1]:>13.1f} {shown[0]:>27} {shown[1]:>18}")


if __name__ == "__main__":
    main()
