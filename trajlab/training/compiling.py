"""Whether a run is compiled: ``trainer.compile`` is true, false, or auto, which weighs compiling against the run's length.

The answer of auto follows from the configuration, not from the machine's speed or load, since a compiled run differs from
an eager one in its last bits. It is kept in the manifest (``compiled``), and a run that is resumed keeps it even where another
version, or a machine without a compiler, would answer otherwise.
"""

import os
import shutil
from collections.abc import Mapping
from types import MappingProxyType

from trajlab.errors import UserError
from trajlab.terminal import say

SECONDS = 60.0
"""What compiling is taken to cost."""
SAVED = 0.08
"""Share of an eager run's time that compiling is taken to save: two cores, the 4.26M model, compiled 0.73 and eager 0.67 of
the rate of matrix products (docs/benchmarks.md)."""
FLOPS_PER_SECOND = {"cpu": 1.2e11}
"""What an accelerator is taken to do: two cores, as above."""
OTHER_FLOPS_PER_SECOND = 3e13
"""The same of a GPU: an assumption, none was measured."""


def compiled(
    asked: bool | str,
    parameters: int,
    tokens: int,
    accelerator: str,
    stored: Mapping[str, object] = MappingProxyType({}),
) -> bool:
    """Whether a run of ``tokens`` is compiled. ``stored`` is the manifest of a run that is resumed, as far as there is one.

    Where auto would compile a new run and a C++ compiler is lacking, the run is eager and a warning says so. Raises UserError
    where ``asked`` is true, or the run that is resumed was compiled, and there is no compiler.
    """
    kept = _kept(stored) if asked == "auto" else None
    chosen = asked if isinstance(asked, bool) else kept
    if chosen is None:
        chosen = earns_it(parameters, tokens, accelerator)
    compiler = os.environ.get("CXX", "g++")
    if not chosen or accelerator != "cpu" or shutil.which(compiler) is not None:
        return chosen
    if asked == "auto" and kept is None:
        say(
            f"warning: this run is long enough to be compiled, but there is no C++ compiler {compiler}; it is trained without"
        )
        return False
    was = "this run was begun compiled and" if kept else f"trainer.compile={str(asked).lower()}"
    raise UserError(
        f"{was} needs a C++ compiler, and there is no {compiler}; install one, or write trainer.compile=false"
        f"{' under another name' if kept else ''}"
    )


def _kept(stored: Mapping[str, object]) -> bool | None:
    """Whether the run that is resumed was compiled; manifests that don't say so have a configuration that does."""
    if isinstance(told := stored.get("compiled"), bool):
        return told
    trainer = held.get("trainer") if isinstance(held := stored.get("config"), Mapping) else None
    asked = trainer.get("compile") if isinstance(trainer, Mapping) else None
    return asked if isinstance(asked, bool) else None


def earns_it(parameters: int, tokens: int, accelerator: str) -> bool:
    """Whether what compiling saves over the whole run (6 FLOPs per parameter and token) is more than it costs."""
    seconds = 6 * parameters * tokens / FLOPS_PER_SECOND.get(accelerator, OTHER_FLOPS_PER_SECOND)
    return SAVED * seconds > SECONDS
