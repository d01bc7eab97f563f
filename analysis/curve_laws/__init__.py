"""Laws of the loss along training, with one interface (docs/curve_laws.md).

    law = PowerLaw.fit(curves)              # curves: frame(curve, step, loss[, lr])
    law.params, law.predict(step, lr), score(law, other_curves)

`PowerLaw`, `ReciprocalLaw`, `LogarithmicLaw` know the step only; `AnnealingLaw`, `MultiPowerLaw` know the learning rate and
predict the curve of any other schedule. `laws` lists them all, those of installed packages too. `bootstrap` gives intervals and bands, `better_schedule` a lower predicted loss.
"""

from trajlab.analysis.curve_laws.better_schedule import BetterSchedule, better_schedule
from trajlab.analysis.curve_laws.bootstrap import Bootstrap, bootstrap
from trajlab.analysis.curve_laws.form import Parameter
from trajlab.analysis.curve_laws.law import Law, errors, score
from trajlab.analysis.curve_laws.problem import Evidence
from trajlab.analysis.curve_laws.registry import laws
from trajlab.analysis.curve_laws.schedule_laws import AnnealingLaw, MultiPowerLaw
from trajlab.analysis.curve_laws.step_laws import LogarithmicLaw, PowerLaw, ReciprocalLaw, StepLaw, linear_part

__all__ = [
    "AnnealingLaw",
    "BetterSchedule",
    "Bootstrap",
    "Evidence",
    "Law",
    "LogarithmicLaw",
    "MultiPowerLaw",
    "Parameter",
    "PowerLaw",
    "ReciprocalLaw",
    "StepLaw",
    "better_schedule",
    "bootstrap",
    "errors",
    "laws",
    "linear_part",
    "score",
]
