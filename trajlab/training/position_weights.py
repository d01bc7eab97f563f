"""How much each position of the context counts in the training loss (arXiv 2404.17785)."""

import torch
from torch import Tensor

from trajlab.config.groups import weighted_positions


def position_weights(context: int, weighting: str, factor: float) -> Tensor | None:
    """Weights (T,) of the training loss: ``factor`` at the positions that ``weighting`` names, 1 elsewhere.

    None for ``none``, so that an unweighted run does the arithmetic that it always did. Raises KeyError for another name.
    """
    positions = weighted_positions(weighting, context)
    if not positions:
        return None
    weights_T = torch.ones(context)
    weights_T[positions.start - 1 : positions.stop - 1] = factor
    return weights_T
