"""Building on trial, before anything is fetched or tokenised: a bad value costs a second, not an hour.

Each function returns the problems that building ends with. What is built is thrown away; it must cost nothing, touch no
file and draw no random number that a run would miss.
"""

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException

from trajlab.config.build import build
from trajlab.config.parse import refusals
from trajlab.errors import UserError


def nodes_problems(nodes: Mapping[str, Any], key: str) -> list[str]:
    """Of every node below ``key`` (callbacks, averagers, measures)."""
    return [p for name, node in nodes.items() if node for p in refusals(lambda: build(node, f"{key}.{name}"))]  # noqa: B023


def model_problems(node: Mapping[str, Any], entries: int) -> list[str]:
    """Of a model, whose shape is tried without memory for its weights, and whose ``vocab_size`` must hold ``entries``."""
    return refusals(lambda: _try_model(node, entries))


def optimizer_problems(node: Mapping[str, Any]) -> list[str]:
    """Of an optimizer, tried on one matrix and one vector in the groups that training makes."""
    return refusals(lambda: _try_optimizer(node))


def device_problems(accelerator: str, precision: str) -> list[str]:
    """Of an accelerator that this machine lacks, and of a precision that is another one on a processor."""
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    there = {"gpu": cuda or mps, "cuda": cuda, "mps": mps}
    if not there.get(accelerator, True):
        return [f"trainer.accelerator={accelerator}: this machine has none; write trainer=cpu"]
    if precision == "16-mixed" and not cuda:
        return ["trainer.precision=16-mixed needs a GPU, and this machine has none; write trainer.precision=bf16-mixed"]
    return []


def _try_model(node: Mapping[str, Any], entries: int) -> None:
    import torch  # takes seconds: only where everything lighter has been found right

    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = build(node, "model")
    except InstantiationException:
        return  # not a refusal: it computes while it is built, which needs memory; training will build it
    have = getattr(model, "vocab_size", entries)
    if entries > have:
        raise UserError(
            f"the tokenizer has {entries:,} entries, model.vocab_size={have:,}; "
            "a model needs an entry for each token: raise model.vocab_size or lower tokenizer.vocab_size"
        )


def _try_optimizer(node: Mapping[str, Any]) -> None:
    import torch

    make = build(node, "optimizer")
    matrix, vector = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 2), (2,)))
    try:
        make([{"params": [matrix]}, {"params": [vector], "weight_decay": 0.0}])
    except (ValueError, TypeError, RuntimeError) as e:
        raise UserError(f"optimizer ({node.get('_target_')}): {e}") from e
