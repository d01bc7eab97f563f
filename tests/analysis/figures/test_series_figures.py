"""What the figures of checkpoint series show: the axes, the lines, their order."""

import numpy as np
import pandas as pd
import pytest

from tests.analysis.test_sequences import table as sequence_table
from trajlab.analysis.figures.series import (
    accuracy_curves,
    matched_perplexity_curves,
    mixture_curves,
    noise_curves,
    perplexity_curves,
    task_panels,
    token_trajectories,
    trend_share_curves,
)
from trajlab.analysis.sequences import sequence_perplexity
from trajlab.analysis.token_trends import TRENDS, trend_shares


def series() -> pd.DataFrame:
    frame = pd.DataFrame([(m, p, t) for m, p in (("b", 2e9), ("a", 1e8)) for t in (0, 10**9, 10**10)])
    frame.columns = ["model", "parameters", "tokens"]
    return frame.assign(ppl=30.0 - np.arange(6), accuracy=0.3 + 0.1 * np.arange(6), task="t")


def test_flops_are_six_parameters_tokens_and_step_zero_is_left_out() -> None:
    flops, tokens = perplexity_curves(series()).axes
    assert [line.get_label() for line in flops.get_lines()] == ["a", "b"]  # by size, not by appearance
    np.testing.assert_allclose(flops.get_lines()[0].get_xdata(), [6e17, 6e18])
    np.testing.assert_allclose(tokens.get_lines()[1].get_xdata(), [1e9, 1e10])


def test_perplexity_falls_to_the_right() -> None:
    against_ppl, against_flops = accuracy_curves(series(), chance=0.25).axes
    assert against_ppl.xaxis_inverted()
    assert not against_flops.xaxis_inverted()
    np.testing.assert_allclose(against_ppl.get_lines()[0].get_ydata(), [70, 80])


def test_trend_shares_have_a_panel_each_in_percent() -> None:
    nll = np.random.default_rng(0).normal(2, 1, (50, 20))
    figure = trend_share_curves(trend_shares(nll).assign(model="a"))
    assert [ax.get_title("left") or ax.get_title() for ax in figure.axes] == list(TRENDS)
    total = sum(ax.get_lines()[0].get_ydata() for ax in figure.axes)
    np.testing.assert_allclose(total, 100)


def test_the_thick_line_is_the_geometric_mean() -> None:
    nll = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [1.0, 1.0, 1.0]])
    figure = token_trajectories(nll, ["upward", "upward", "stagnated"], [0, 10, 20])
    down, up, *_ = figure.axes
    assert not down.get_lines()
    np.testing.assert_allclose(up.get_lines()[-1].get_ydata(), np.exp([2.0, 3.0, 4.0]))
    assert len(up.get_lines()) == 3


@pytest.mark.parametrize("draw", [noise_curves, mixture_curves])
def test_sequences_have_a_panel_a_model(draw) -> None:
    figure = draw(sequence_perplexity(sequence_table()))
    assert [ax.get_title("left") or ax.get_title() for ax in figure.axes] == ["large", "small"]
    assert all(line.get_xdata()[-1] == 200 for ax in figure.axes for line in ax.get_lines())


def test_a_group_is_drawn_against_each_models_own_perplexity() -> None:
    traced = pd.DataFrame({"model": ["a"] * 2, "ppl": [20.0, 10.0], "group_ppl": [3.0, 4.0]})
    (ax,) = matched_perplexity_curves(traced, reference="a").axes
    np.testing.assert_allclose(ax.get_lines()[0].get_xdata(), [20, 10])


def test_spare_panels_are_hidden() -> None:
    figure = task_panels(series(), ["t", "t", "t"], columns=2)
    assert [ax.get_visible() for ax in figure.axes] == [True, True, True, False]
