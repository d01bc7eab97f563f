"""Curves of several conditions: each its own mean."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.figures.conditions import sweep_figure
from trajlab.analysis.figures.curves import interval_curves, seed_band
from trajlab.analysis.figures.overview import turn_figure
from trajlab.analysis.figures.style import line_style, new_figure


def runs() -> pd.DataFrame:
    rows = [
        {
            "run": f"seed={s},lr={rate}",
            "seed": s,
            "variant": "raw",
            "split": "valid",
            "tokens": 100 * t,
            "loss": rate - 0.1 * t,
        }
        for rate in (3.0, 3.5, 2.0)
        for s in (0, 1)
        for t in range(3)
    ]
    return pd.DataFrame(rows)


def test_each_condition_has_a_mean_of_its_own() -> None:
    (ax,) = interval_curves(runs()).axes[:1]
    labels = ax.get_legend_handles_labels()[1]
    assert sorted(labels) == ["valid, raw, lr=2.0 (2)", "valid, raw, lr=3.0 (2)", "valid, raw, lr=3.5 (2)"]


def test_a_band_over_several_conditions_is_refused() -> None:
    with pytest.raises(ValueError, match="condition holds lr=2.0, lr=3.0, lr=3.5"):
        seed_band(new_figure("x", "")[1][0], runs(), "loss", "C0", "x")


def test_no_two_of_thirty_lines_look_the_same() -> None:
    """The ninth average had colour and dash of the first: swa could not be told from ema0.95."""
    assert len({line_style(place) for place in range(32)}) == 32


@pytest.mark.parametrize(("below", "above"), [(0.03, True), (2.0, False)])
def test_the_lowest_loss_is_not_written_over_the_training_loss(below: float, above: bool) -> None:
    rows = runs().query("run.str.endswith('lr=2.0')")
    turned = rows.assign(loss=rows["loss"] + 0.3 * (rows["tokens"] > 100), train_loss=lambda f: f["loss"] - below)
    (ax,) = turn_figure(turned).axes
    (words,) = [t for t in ax.texts if t.get_text().startswith("lowest")]
    assert (words.xyann[1] > 0) == above


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("rise", [0.05, 0.7, 1.5])
@pytest.mark.parametrize("turn", [0.2, 0.35, 0.7])
def test_the_lowest_loss_is_written_over_no_curve(turn: float, rise: float, narrow: bool, log: bool) -> None:
    """On a phone's width the words lay on the rising curve."""
    share = np.arange(21) / 20
    fall, away = np.exp(-share / (turn / 4)), np.clip(share - turn, 0, None)
    loss = 2.8 + 5.5 * fall + rise * away / (1 - turn) ** 1.2
    columns = {"run": "seed=0", "seed": 0, "variant": "raw", "split": "valid", "tokens": 1e6 * share}
    rows = pd.DataFrame({**columns, "loss": loss, "train_loss": loss - 0.1 - 2.5 * share})
    figure = turn_figure(rows, narrow=narrow, log=log)
    figure.canvas.draw()
    (ax,) = figure.axes
    (words,) = [t for t in ax.texts if t.get_text().startswith("lowest")]
    box = words.get_window_extent()
    for line in ax.lines[:4]:  # each curve of a seed and of the mean
        dense = (
            np.column_stack(
                [np.interp(np.linspace(0, 20, 2001), np.arange(21), np.asarray(v, float)) for v in line.get_data()]
            )
            if len(line.get_xdata()) == 21
            else np.empty((0, 2))
        )
        assert not any(box.contains(*p) for p in ax.transData.transform(dense[dense[:, 0] > 0]))


def test_a_swept_number_of_tokens_is_counted_in_thousands() -> None:
    losses = pd.DataFrame({"final loss (nats)": [3.0, 2.8, 2.7], "best loss (nats)": [2.9, 2.8, 2.7]})
    ends = {f"{w}: {e}": losses[f"{w} loss (nats)"] for w in ("final", "best") for e in ("95 % CI from", "to")}
    figure = sweep_figure("intervals.budget_tokens", [500_000, 1_000_000, 1_500_000], losses.assign(**ends))
    figure.canvas.draw()
    (ax,) = figure.axes
    assert ax.xaxis.get_offset_text().get_text() == ""
    assert {"600k", "1M"} <= {t.get_text() for t in ax.get_xticklabels()}
