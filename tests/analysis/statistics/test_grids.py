"""The order of a grid's levels."""

import pandas as pd

from trajlab.analysis.statistics.grids import complete_grid


def test_labels_that_are_words_stand_in_the_order_of_their_numbers() -> None:
    frame = pd.DataFrame(
        [(s, w, 1.0) for s in ("a", "b") for w in ("20", "9", "100")], columns=["seed", "interval", "loss"]
    )
    assert complete_grid(frame, "loss", "interval", "seed").columns.tolist() == ["9", "20", "100"]
    named = frame.assign(interval="step" + frame["interval"])
    assert complete_grid(named, "loss", "interval", "seed").columns.tolist() == ["step9", "step20", "step100"]


def test_a_categorical_keeps_its_own_order() -> None:
    order = pd.CategoricalDtype(["late", "early"], ordered=True)
    frame = pd.DataFrame([(s, w, 1.0) for s in (0, 1) for w in ("early", "late")], columns=["seed", "interval", "loss"])
    assert complete_grid(frame.astype({"interval": order}), "loss", "interval", "seed").columns.tolist() == [
        "late",
        "early",
    ]
