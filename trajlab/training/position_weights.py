"""How much each position of the context counts in the training loss (arXiv 2404.17785)."""

import torch
from torch import Tensor

from trajlab.config.schema import POSITION_WEIGHTINGS


def position_weights(context: int, weighting: str, factor: float) -> Tensor | None:
    """Weights (T,) of the training loss: ``factor`` at the positions that ``weighting`` names, 1 elsewhere.

    None for ``none``, so that an unweighted run does the arithmetic that it always did. Raises KeyError for another name.
    """
    start, end = (round(share * context) for share in POSITION_WEIGHTINGS[weighting])
    if start == end:
        return None
    weights_T = torch.ones(context)
    weights_T[start:end] = factor
    return weights_T
