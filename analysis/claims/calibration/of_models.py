"""Verdicts over models: 6 of them, 12 checkpoints or 20 texts each."""

import numpy as np

from trajlab.analysis.claims.across_models import gain_claim, slope_interval
from trajlab.analysis.claims.calibration.kinds import BOTH, Kind, Simulate
from trajlab.analysis.claims.claim import SUPPORTED, placed

MODELS, CHECKPOINTS, TEXTS = 6, 12, 20


def _r_squared(on_ppl: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        sizes = np.repeat(10.0 ** np.linspace(6, 9, MODELS), CHECKPOINTS)
        steps = np.tile(np.arange(1, CHECKPOINTS + 1), MODELS)
        level = np.repeat(rng.normal(0, 0.02, MODELS), CHECKPOINTS)  # a model's own accuracy, all its checkpoints
        own = np.repeat(rng.normal(0, 3, MODELS), CHECKPOINTS) ** 2
        ln_ppl = np.log(3 + 40 * sizes**-0.1 + 30 / steps + own)
        accuracy = 0.5 - on_ppl * ln_ppl + level + rng.normal(0, 0.01, len(sizes))
        logs = {"ln ppl": ln_ppl, "ln FLOPs": np.log(6e6 * sizes * steps)}
        return gain_claim(logs, accuracy, np.repeat(np.arange(MODELS), CHECKPOINTS), "", True).verdict

    return simulate


def _slope(slope: float) -> Simulate:
    def simulate(rng: np.random.Generator) -> str:
        x_R = np.log(10.0 ** np.linspace(6, 9, MODELS))
        of_model, of_text = rng.normal(0, 0.1, (MODELS, 1)), rng.normal(0, 0.3, TEXTS)
        loss_RS = 6 + slope * x_R[:, None] + of_model + rng.normal(0, 0.3, (MODELS, TEXTS)) + of_text
        counts_RS = np.full((MODELS, TEXTS), 50.0)
        return placed(*slope_interval(x_R, loss_RS * counts_RS, counts_RS, 200, rng)[1], (0.0, np.inf))

    return simulate


KINDS = {
    "R² over models": Kind(
        {"accuracy depends on neither": (_r_squared(0.0), BOTH)},
        {"accuracy falls by 0.3 per unit of ln ppl": (_r_squared(0.3), SUPPORTED)},
    ),
    "slope on size": Kind(
        {"no slope": (_slope(0.0), BOTH)}, {"0.1 nats per unit of ln size": (_slope(0.1), SUPPORTED)}
    ),
}
