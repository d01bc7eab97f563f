"""What the name of a published model says of its size."""

import re


def parameters_of(model: str) -> float:
    """The nominal number of parameters in a model's name: ``pythia-1.4b-deduped`` is 1.4e9.

    Raises ValueError where the name holds no size.
    """
    found = re.findall(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([kmbt])(?![a-z0-9])", model.lower())
    if not found:
        raise ValueError(f"{model!r} holds no size such as 160m or 1.4b; give the frame a column parameters")
    number, letter = found[0]
    return float(number) * {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}[letter]
