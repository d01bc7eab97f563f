"""Whether a run is compiled: ``trainer.compile`` is true, false, or auto, which weighs compiling against the run's length.

The answer of auto follows from the configuration alone, not from the machine or its load, since a compiled run differs from
an eager one in its last bits: the same command computes the same anywhere. It is kept in the manifest (``compiled``), and a
run that is resumed keeps it even where another version would answer otherwise.
"""

import os
import shutil

from trajlab.errors import UserError

SECONDS = 60.0
"""What compiling is taken to cost."""
SAVED = 0.08
"""Share of an eager run's time that compiling is taken to save: two cores, the 4.26M model, compiled 0.73 and eager 0.67 of
the rate of matrix products (docs/benchmarks.md)."""
FLOPS_PER_SECOND = {"cpu": 1.2e11}
"""What an accelerator is taken to do: two cores, as above."""
OTHER_FLOPS_PER_SECOND = 3e13
"""The same of a GPU: an assumption, none was measured."""


def compiled(asked: bool | str, parameters: int, tokens: int, accelerator: str, stored: object = None) -> bool:
    """Whether a run of ``tokens`` is compiled. ``stored`` is what the manifest of a run that is resumed says.

    Raises UserError where it would be compiled for a processor and there is no C++ compiler.
    """
    if asked == "auto":
        chosen = stored if isinstance(stored, bool) else earns_it(parameters, tokens, accelerator)
    else:
        chosen = bool(asked)
    compiler = os.environ.get("CXX", "g++")
    if chosen and accelerator == "cpu" and shutil.which(compiler) is None:
        raise UserError(
            f"trainer.compile={str(asked).lower()} needs a C++ compiler, and there is no {compiler}; install one, or write "
            "trainer.compile=false"
        )
    return chosen


def earns_it(parameters: int, tokens: int, accelerator: str) -> bool:
    """Whether what compiling saves over the whole run (6 FLOPs per parameter and token) is more than it costs."""
    seconds = 6 * parameters * tokens / FLOPS_PER_SECOND.get(accelerator, OTHER_FLOPS_PER_SECOND)
    return SAVED * seconds > SECONDS
