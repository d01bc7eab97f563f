"""The loss at each position of the context as a hyperbola: L_i = a0 / (1 + a1·i) + a2 (docs/methods.md §3, arXiv 2404.17785).

- `position_losses`           table `positions` → arrays of one run, variant and split
- `fit_position_law`          arrays → `PositionLaw`, all checkpoints at once
- `PositionLaw.mean`          the mean over positions 1 … n in closed form
- `block_losses`, `resample`  table `position_blocks` → losses under a bootstrap over blocks of windows
- `bootstrap_errors`          standard errors from them

Losses are in nats per token.
"""

from trajlab.analysis.position_law.fit import fit_position_law
from trajlab.analysis.position_law.law import PositionLaw, hyperbola, mean_hyperbola
from trajlab.analysis.position_law.reduced_problem import A1_RANGE
from trajlab.analysis.position_law.tables import (
    BlockLosses,
    PositionLosses,
    block_losses,
    bootstrap_errors,
    position_losses,
    resample,
)

__all__ = [
    "A1_RANGE",
    "BlockLosses",
    "PositionLaw",
    "PositionLosses",
    "block_losses",
    "bootstrap_errors",
    "fit_position_law",
    "hyperbola",
    "mean_hyperbola",
    "position_losses",
    "resample",
]
