"""Every law there is, in one order: `laws`. Forecasts take their baselines from here.

To add a law to trajlab, add its class to `BUILT_IN`. A package outside adds one through the entry-point group
``trajlab.laws``, one line of its ``pyproject.toml``:

    [project.entry-points."trajlab.laws"]
    exponential = "my_package.exponential:ExponentialLaw"
"""

import inspect
import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from trajlab.analysis.curve_laws.law import Law
from trajlab.analysis.curve_laws.schedule_laws import AnnealingLaw, MultiPowerLaw
from trajlab.analysis.curve_laws.step_laws import LogarithmicLaw, PowerLaw, ReciprocalLaw

BUILT_IN: tuple[type[Law], ...] = (PowerLaw, ReciprocalLaw, LogarithmicLaw, AnnealingLaw, MultiPowerLaw)
GROUP = "trajlab.laws"


@cache
def laws() -> tuple[type[Law], ...]:
    """The built-in laws in their order, then those of installed packages in the order of their entry points' names.

    An entry point that can't be used (it fails to load, is no complete `Law`, or its name is taken) is left out, with one
    warning that names it.
    """
    known = {law.name: law for law in BUILT_IN}
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        try:
            law = _checked(point)
            if law.name in known:
                raise ValueError(f"a law named {law.name!r} is there already: {known[law.name].__qualname__}")
        except Exception as problem:  # whatever an installed package does, the laws that work must stay
            warnings.warn(
                f"{GROUP}: {point.name} = {point.value} is left out: {type(problem).__name__}: {problem}. "
                "Mend or uninstall the package that brings it.",
                stacklevel=2,
            )
        else:
            known[law.name] = law
    return tuple(known.values())


def _checked(point: EntryPoint) -> type[Law]:
    law = point.load()
    if not (inspect.isclass(law) and issubclass(law, Law)):
        raise TypeError("it is no subclass of trajlab.analysis.curve_laws.Law")
    missing = sorted(law.__abstractmethods__) + [n for n in ("name", "parameters") if not hasattr(law, n)]
    if missing:
        raise TypeError(f"{law.__name__} lacks {', '.join(missing)}")
    return law
