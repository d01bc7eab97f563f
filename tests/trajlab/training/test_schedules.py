"""Learning-rate factors."""

import pytest

from trajlab.training.schedules import Constant, Cosine, WarmupStableDecay


@pytest.mark.parametrize("kind", [Constant, Cosine, WarmupStableDecay])
def test_warm_up_is_linear_and_ends_at_one(kind: type[Constant]) -> None:
    schedule = kind(budget_tokens=1000, warmup_tokens=100)
    assert [schedule(t) for t in (25, 50, 100)] == pytest.approx([0.25, 0.5, 1.0])


def test_where_they_end() -> None:
    assert Constant(1000)(1000) == 1
    assert Cosine(1000, 0, 0.1)(500) == pytest.approx(0.55)
    assert Cosine(1000, 0, 0.1)(1000) == pytest.approx(0.1)
    assert Cosine(1000, 0, 0.1)(2000) == pytest.approx(0.1)
    wsd = WarmupStableDecay(1000, 0, decay_share=0.2)
    assert [wsd(t) for t in (0, 800, 900, 1000)] == pytest.approx([1, 1, 0.5, 0])


def test_a_warm_up_longer_than_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_tokens"):
        Constant(100, 100)
