"""Laws of the loss along training, with one interface (docs/curve_laws.md).

    law = PowerLaw.fit(curves)              # curves: frame(curve, step, loss[, lr])
    law.params, law.predict(step, lr), score(law, other_curves)

`PowerLaw`, `ReciprocalLaw`, `LogarithmicLaw` know the step only; `AnnealingLaw`, `MultiPowerLaw` know the learning rate and
predict the curve of any other schedule. `bootstrap` gives intervals and bands, `better_schedule` a lower predicted loss.
"""

from trajlab.analysis.curve_laws.better_schedule import BetterSchedule, better_schedule
from trajlab.analysis.curve_laws.bootstrap import Bootstrap, bootstrap
from trajlab.analysis.curve_laws.law import Law, Parameter, errors, score
from trajlab.analysis.curve_laws.problem import Evidence
from trajlab.analysis.curve_laws.schedule_laws import AnnealingLaw, MultiPowerLaw
from trajlab.analysis.curve_laws.step_laws import LogarithmicLaw, PowerLaw, ReciprocalLaw

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
    "better_schedule",
    "bootstrap",
    "errors",
    "score",
]
