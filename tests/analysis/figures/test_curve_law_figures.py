"""Figures of curve laws show what their titles say."""

import numpy as np
import pandas as pd

from trajlab.analysis.curve_laws import MultiPowerLaw, PowerLaw, better_schedule, bootstrap
from trajlab.analysis.figures.curve_laws import better_schedule_figure, law_curves

PARAMS = {"L0": 2.7, "A": 0.6, "alpha": 0.45, "B": 450.0, "C": 2.0, "beta": 0.6, "gamma": 0.65}


def test_law_curves_parts_fitted_from_unseen():
    step = np.arange(100, 5000, 100)
    frame = pd.concat(
        [pd.DataFrame({"curve": c, "step": step, "loss": 2 + 9 * step**-0.3 + c / 1e3}) for c in range(3)]
    )
    law = PowerLaw.fit(frame[frame["curve"] < 2])
    figure = law_curves(law, frame, [0, 1], resampled=bootstrap(law, 3), caption="made up")
    left, middle, right = figure.axes
    assert [t.get_text() for t in left.get_legend().get_texts()] == ["0", "1"]
    assert [t.get_text() for t in middle.get_legend().get_texts()] == ["2"]
    assert len(middle.collections) == 1
    np.testing.assert_allclose(right.lines[0].get_ydata(), law.predict(step) - (2 + 9 * step**-0.3 + 0.002))


def test_the_better_schedule_stands_beside_the_usual_ones():
    law = MultiPowerLaw(PARAMS, warmup_area=0.3)
    found = better_schedule(law, 2000, 12000, 3e-4, 3e-5, rows=41)
    left, right = better_schedule_figure(law, found).axes
    assert len(left.lines) == len(right.lines) == 5
    np.testing.assert_array_equal(left.lines[-1].get_ydata(), found.lr_R)
    assert f"found: {found.final_loss:.4f}" in [t.get_text() for t in right.get_legend().get_texts()]
