"""What averaging the weights along training gains (docs/methods.md §4).

`gain` the loss that an average has below the raw weights at each interval; `tokens_saved` and `longest_gap` the tokens
(and hours) by which it is earlier at a target; `spike_mitigation` how much of a spike is left in it; `averager_windows`
and `window_curve` the gain against the window's length; `against_annealed` the comparison with runs whose learning rate
was annealed to zero at the same tokens; `over_seeds` means with intervals over runs. Frames in, frames out: table
`intervals` and the manifests of `trajlab.analysis.load`.
"""

from trajlab.analysis.averaging_gain.annealed import against_annealed, run_setups
from trajlab.analysis.averaging_gain.at_intervals import gain
from trajlab.analysis.averaging_gain.over_runs import over_seeds
from trajlab.analysis.averaging_gain.spikes import spike_mitigation
from trajlab.analysis.averaging_gain.to_target import first_reached, longest_gap, tokens_saved
from trajlab.analysis.averaging_gain.windows import averager_windows, learning_rates, window_curve

__all__ = [
    "against_annealed",
    "averager_windows",
    "first_reached",
    "gain",
    "learning_rates",
    "longest_gap",
    "over_seeds",
    "run_setups",
    "spike_mitigation",
    "tokens_saved",
    "window_curve",
]
