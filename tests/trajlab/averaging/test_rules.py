"""The arithmetic of averages: identities, known answers, torch's own averages."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trajlab.averaging import (
    Exponential,
    Mean,
    RunningAverages,
    Window,
    decay_weights,
    ema,
    lawa,
    merge,
    merging_weights,
    swa,
)
from trajlab.averaging.rules import DECAYS

RULES = {
    "lawa": Window(3),
    "merge": merge(4, "cosine", every_steps=1).rule,
    "ema": Exponential(0.9),
    "ema, no warm-up": Exponential(0.9, warmup=False),
    "swa": Mean(),
}


def snapshots(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(7, 5, generator=generator).to(dtype) for _ in range(n)]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_a_rules_weights_sum_to_one_and_say_what_it_computes(rule, n):
    running, series = rule.start(), snapshots(n)
    for x in series:
        running.push(x)
    weights = rule.weights(n)
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    expected = sum(w * x.double() for w, x in zip(weights, series, strict=True))
    torch.testing.assert_close(running.value(), expected.float(), atol=2e-7, rtol=1e-6)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("stop", range(1, 6))
def test_an_average_goes_on_from_its_state_bit_for_bit(rule, stop):
    whole, first, second = rule.start(), rule.start(), rule.start()
    series = snapshots(8)
    for x in series:
        whole.push(x)
    for x in series[:stop]:
        first.push(x)
    second.load(copy.deepcopy(first.state()))
    for x in series[stop:]:
        second.push(x)
    assert torch.equal(second.value(), whole.value())


@pytest.mark.parametrize("rule", [Window(1), Exponential(0.0), Exponential(0.0, warmup=False)])
def test_an_average_of_one_snapshot_is_the_snapshot(rule):
    running = rule.start()
    for x in snapshots(4):
        running.push(x)
        assert torch.equal(running.value(), x)


def test_a_window_slides_and_is_shorter_at_the_start():
    running = Window(3).start()
    means = []
    for x in (1.0, 2.0, 3.0, 4.0, 5.0):
        running.push(torch.tensor([x]))
        means.append(running.value().item())
    assert means == [1.0, 1.5, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_what_was_pushed_may_change_afterwards(rule):
    running, frozen = rule.start(), rule.start()
    for x in snapshots(5):
        running.push(x)
        frozen.push(x.clone())
        x.fill_(float("nan"))
    assert torch.equal(running.value(), frozen.value())


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_low_precision_weights_are_averaged_in_float32(rule):
    series = snapshots(6, dtype=torch.bfloat16)
    low, full = rule.start(), rule.start()
    for x in series:
        low.push(x)
        full.push(x.float())
    assert low.value().dtype == torch.float32
    assert torch.equal(low.value(), full.value())


def test_an_ema_without_warm_up_equals_torchs_to_the_last_bit():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(13, 37), nn.Tanh(), nn.Linear(37, 5))
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.97))
    ours = RunningAverages(ema(0.97, warmup=False).rule)
    for _ in range(20):
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1 * torch.randn_like(p)
        theirs.update_parameters(model)
        ours.push(dict(model.named_parameters()))
    for name, expected in theirs.module.named_parameters():
        assert torch.equal(ours[name], expected)


def test_swa_equals_torchs():
    torch.manual_seed(0)
    model = nn.Linear(13, 37)
    theirs, ours = AveragedModel(model), RunningAverages(swa(1, every_steps=1).rule)
    for _ in range(20):
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1 * torch.randn_like(p)
        theirs.update_parameters(model)
        ours.push(dict(model.named_parameters()))
    for name, expected in theirs.module.named_parameters():
        torch.testing.assert_close(ours[name], expected, atol=5e-7, rtol=1e-6)


def test_the_warm_up_removes_the_starts_bias():
    """The average of a constant with noise before it: Adam's correction, m_t / (1 − β^t)."""
    running, moment, decay = Exponential(0.9).start(), torch.zeros(7, 5, dtype=torch.float64), 0.9
    for t, x in enumerate(snapshots(12), start=1):
        running.push(x)
        moment = decay * moment + (1 - decay) * x.double()
        torch.testing.assert_close(running.value().double(), moment / (1 - decay**t), atol=1e-6, rtol=1e-6)


@given(st.lists(st.floats(0, 1), min_size=0, max_size=12))
def test_merging_weights_sum_to_one_and_equal_the_decayed_updates(factors):
    decayed = sorted(factors, reverse=True)
    c = merging_weights(decayed)
    assert len(c) == len(decayed) + 1
    assert sum(c) == pytest.approx(1, abs=1e-12)
    assert min(c) >= 0
    theta = [3.0, *(float(i * i % 7) for i in range(len(decayed)))]
    by_updates = theta[0] + sum(w * (b - a) for w, a, b in zip(decayed, theta, theta[1:], strict=False))
    assert sum(w * t for w, t in zip(c, theta, strict=True)) == pytest.approx(by_updates, abs=1e-9)


@pytest.mark.parametrize("decayed", [[0.5, 0.6], [1.1], [-0.1]])
def test_factors_that_rise_or_leave_the_unit_interval_are_refused(decayed):
    with pytest.raises(ValueError, match="must not rise"):
        merging_weights(decayed)


@pytest.mark.parametrize("shape", DECAYS)
def test_merging_simulates_the_decay_exactly_on_a_linear_model(shape):
    """Constant gradients (a linear model's loss is linear in its weights): SGD with a decayed rate ends at the merge."""
    torch.manual_seed(0)
    x_NF = torch.randn(6, 4, dtype=torch.float64)
    updates, rate = 5, 0.25

    def sgd(factors: list[float]) -> list[torch.Tensor]:
        model = nn.Linear(4, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            model.weight.fill_(1.0)
        trajectory = [model.weight.detach().clone()]
        for factor in factors:
            (gradient,) = torch.autograd.grad(model(x_NF).sum(), model.weight)
            with torch.no_grad():
                model.weight -= rate * factor * gradient
            trajectory.append(model.weight.detach().clone())
        return trajectory

    decayed = decay_weights(shape, updates)
    merged = sum(c * theta for c, theta in zip(merging_weights(decayed), sgd([1.0] * updates), strict=True))
    torch.testing.assert_close(merged, sgd(decayed)[-1], atol=1e-13, rtol=1e-13)


def test_a_cadence_is_due_at_the_first_step_that_reaches_a_multiple():
    averager = lawa(3, every_tokens=50, start=100)
    tokens = [t for t in range(24, 400, 24) if averager.due(t - 24, t)]
    assert tokens == [120, 168, 216, 264, 312, 360]  # 100, 150, 200, …; the first at 50 is before the start


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lawa(0, every_steps=1), "k must be at least 1, got 0"),
        (lambda: lawa(5), "one of every_tokens and every_steps"),
        (lambda: lawa(5, every_tokens=1, every_steps=1), "one of every_tokens and every_steps"),
        (lambda: ema(1.0), "decay must be in"),
        (lambda: merge(3, "straight", every_steps=1), "linear, cosine, inverse_sqrt"),
        (lambda: lawa(5, every_steps=0), "every must be at least 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_changed_parameters_are_refused():
    averages = RunningAverages(Window(2))
    averages.push({"a": torch.zeros(1)})
    with pytest.raises(ValueError, match="b came or went"):
        averages.push({"a": torch.zeros(1), "b": torch.zeros(1)})
