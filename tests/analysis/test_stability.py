"""Telemetry against hand-made curves whose answers are plain."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from scipy import stats

from trajlab.analysis.stability import (
    between_seeds,
    seed_agreement,
    seeds_and_text,
    stability,
    stability_summary,
)
from trajlab.analysis.step_spikes import spike_scores, step_spikes

GOLDEN = Path(__file__).parent.parent / "golden" / "other_statistics.json"


def curve(loss: list[float], seed: int = 0, **columns: object) -> pd.DataFrame:
    k = len(loss)
    base = {"run": f"seed={seed}", "seed": seed, "interval": np.arange(k), "tokens": 1000 * np.arange(k), "loss": loss}
    return pd.DataFrame({**base, **columns})


def windows(loss: list[float], per_window: np.ndarray, tokens: int = 10) -> pd.DataFrame:
    """Curves with window sums: each window's nll is tokens·(loss + its own deviation at that interval)."""
    nll = [tokens * (value + own) for value, own in zip(loss, per_window, strict=True)]
    mean = [w.sum() / (tokens * len(w)) for w in nll]
    return curve(mean, window_nll=nll, token_count=tokens * per_window.shape[1])


def test_volatility_is_the_sample_sd_of_the_last_five() -> None:
    loss = [5.0, 4.0, 3.5, 3.2, 3.1, 3.3, 3.0]
    found = stability(curve(loss))["volatility"].to_numpy()
    expected = [np.nan, *(np.std(loss[max(0, t - 4) : t + 1], ddof=1) for t in range(1, 7))]
    np.testing.assert_allclose(found, expected)
    three = stability(curve(loss), window=3)["volatility"].to_numpy()
    assert three[6] == pytest.approx(np.std(loss[4:], ddof=1))


def test_backslides_and_drawdown() -> None:
    found = stability(curve([5.0, 4.0, 4.5, 4.5, 3.0, 3.2]))
    assert found["backslide"].tolist() == [False, False, True, False, False, True]
    np.testing.assert_allclose(found["drawdown"], [0, 0, 0.5, 0.5, 0, 0.2])
    assert found["backslide_2se"].iloc[1:].isna().all()  # no windows, no error


def test_the_backslide_beyond_two_errors_pairs_the_windows() -> None:
    rng = np.random.default_rng(0)
    level_W = rng.standard_normal(64)  # windows differ much from one another, little from interval to interval
    noise_KW = 0.02 * rng.standard_normal((4, 64))
    found = stability(windows([3.0, 2.5, 2.51, 2.50], level_W + noise_KW))
    change_W = 10 * (0.01 + noise_KW[2] - noise_KW[1])
    expected = np.sqrt(64) * change_W.std(ddof=1) / 640
    assert found["delta_se"][2] == pytest.approx(expected)
    assert found["delta_se"][2] < level_W.std() / 8 / 10  # unpaired it would be ten times as large
    assert found["backslide_2se"].tolist() == [False, False, bool(found["delta"][2] > 2 * expected), False]
    assert found["backslide_2se"][2]
    strict = stability(windows([3.0, 2.5, 2.51, 2.50], level_W + noise_KW), backslide_errors=100)
    assert not strict["backslide_2se"].any()


def test_a_spike_needs_five_earlier_changes() -> None:
    loss = np.cumsum([5.0, -0.10, -0.11, -0.09, -0.10, -0.12, 0.2, -0.1])
    found = stability(curve(loss.tolist()))
    assert found["spike"].tolist() == [False] * 6 + [True, False]
    early = stability(curve(np.cumsum([5.0, -0.10, -0.11, -0.09, -0.10, 0.2, -0.1]).tolist()))
    assert not early["spike"].any()
    middle, mad = np.median([-0.10, -0.11, -0.09, -0.10, -0.12]), 0.01
    threshold = middle + 3 * 1.4826 * mad
    for rise, expected in ((threshold - 1e-6, False), (threshold + 1e-6, True)):
        at = np.cumsum([5.0, -0.10, -0.11, -0.09, -0.10, -0.12, rise]).tolist()
        assert stability(curve(at))["spike"].iloc[-1] == expected


def test_the_stable_phase_is_the_first_long_enough_calm() -> None:
    falling = [5.0, 4.0, 3.0]
    calm = [2.99, 2.98, 2.975, 2.97, 2.965, 2.96, 2.955]
    found = stability(curve([*falling, *calm, 3.5, 3.0]))
    stable = found.loc[found["stable"], "interval"].tolist()
    assert stable == [6, 7, 8, 9]  # volatility must first forget the fall
    assert not stability(curve([*falling, *calm[:-2], 3.5, 3.0]))["stable"].any()
    assert stability(curve([*falling, *calm]), stable_length=5)["stable"].sum() == 0
    assert stability_summary(found)["stable_from"].tolist() == [6]


def test_constant_loss_is_stable_from_the_first_change_on() -> None:
    found = stability(curve([0.1] * 6))
    assert found["volatility"].iloc[1:].max() < 1e-15
    assert found["stable"].tolist() == [False, *[True] * 5]
    assert not found[["backslide", "spike"]].any().any()


def test_curves_are_kept_apart_whatever_the_order_of_rows() -> None:
    both = pd.concat([curve([5.0, 4.0, 3.0], 0), curve([6.0, 6.5, 3.0], 1)])
    shuffled = stability(both.sample(frac=1, random_state=1))
    apart = pd.concat([stability(curve([5.0, 4.0, 3.0], 0)), stability(curve([6.0, 6.5, 3.0], 1))], ignore_index=True)
    pd.testing.assert_frame_equal(shuffled, apart)


def test_gaps_duplicates_and_infinities_are_named() -> None:
    whole = curve([5.0, 4.0, 3.0, 2.0])
    with pytest.raises(ValueError, match=r"seed=0.*no interval 2"):
        stability(whole[whole["interval"] != 2])
    with pytest.raises(ValueError, match="interval 1 is there twice"):
        stability(pd.concat([whole, whole[whole["interval"] == 1]]))
    with pytest.raises(ValueError, match="the loss at interval 3 is not finite"):
        stability(curve([5.0, 4.0, 3.0, np.inf]))
    with pytest.raises(KeyError, match="loss"):
        stability(whole.drop(columns="loss"))


def test_one_interval_and_a_thousand() -> None:
    assert stability(curve([5.0]))["volatility"].isna().all()
    long = stability(curve((3 + 1 / np.arange(1, 1001)).tolist()))
    assert len(long) == 1000
    assert long["stable"].any()


def test_between_seeds_is_the_t_interval() -> None:
    frame = pd.concat([curve([5.0 + s, 4.0 + s**2], s) for s in range(4)])
    row = between_seeds(frame).iloc[1]
    values = np.array([4.0, 5.0, 8.0, 13.0])
    low, high = stats.t.interval(0.95, 3, values.mean(), values.std(ddof=1) / 2)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(low), pytest.approx(high))
    assert (row["n"], row["mean"], row["min"], row["max"], row["range"]) == (4, 7.5, 4, 13, 9)
    assert row["cv"] == pytest.approx(values.std(ddof=1) / 7.5)
    alone = between_seeds(curve([5.0, 4.0]))
    assert alone[["sd", "ci_low", "ci_high"]].isna().all().all()
    with pytest.raises(ValueError, match="interval=0 is there twice"):
        between_seeds(pd.concat([frame, frame.head(1)]))


def test_the_icc_is_shrout_and_fleiss() -> None:
    golden = json.loads(GOLDEN.read_text())["shrout_fleiss"]
    rows = np.asarray(golden["rows"], float)  # targets × judges: intervals × seeds
    frame = pd.concat([curve(rows[:, s].tolist(), s) for s in range(4)])
    found = seed_agreement(frame, initial=True)
    assert f"{found['icc']:.2f}" == golden["published"]["icc"]
    table = pg.intraclass_corr(frame, targets="interval", raters="seed", ratings="loss").set_index("Type")
    assert found["icc"] == pytest.approx(table.loc["ICC(A,1)", "ICC"], abs=1e-9)


def ar1(shape: tuple[int, ...], phi: float, rng: np.random.Generator) -> np.ndarray:
    y = rng.standard_normal(shape)
    y[..., 1:] *= np.sqrt(1 - phi**2)
    for t in range(1, shape[-1]):
        y[..., t] += phi * y[..., t - 1]
    return y


def test_curves_that_are_unrelated_after_initialisation_do_not_agree() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        y_SK = 3 + 0.3 * rng.standard_normal((6, 21))
        y_SK[:, 0] = 8.3 + 0.01 * rng.standard_normal(6)
        found.append(seed_agreement(pd.concat([curve(y.tolist(), s) for s, y in enumerate(y_SK)]))["icc"])
    assert abs(np.mean(found)) < 0.1  # 0.9 with the initial row


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_the_interval_of_agreement_covers_under_autocorrelation(phi: float) -> None:
    """A curve that all share and an AR(1) of each seed; conditional on the curve, whose intervals are the same in any run."""
    rng, covered = np.random.default_rng(1), 0
    mean_K = 1.5 * np.linspace(-1, 1, 21) ** 2
    truth = mean_K.var(ddof=1) / (mean_K.var(ddof=1) + 1)
    for _ in range(50):
        y_SK = mean_K + ar1((6, 21), phi, rng)
        frame = pd.concat([curve(y.tolist(), s) for s, y in enumerate(y_SK)])
        found = seed_agreement(frame, initial=True, n_resamples=500)
        covered += found["ci_low"] <= truth <= found["ci_high"]
    assert covered >= 45  # McGraw and Wong's interval: about 30 at φ = 0.9


def test_swept_conditions_are_not_pooled() -> None:
    parts = [
        curve([rate, rate - 0.5], s).assign(run=f"seed={s},optimizer.lr={rate}")
        for rate in (3.0, 3.5, 2.0)
        for s in (0, 1)
    ]
    spread = between_seeds(pd.concat(parts))
    assert spread["n"].tolist() == [2] * 6
    first = spread[spread["interval"] == 0].set_index("condition")["mean"]
    assert first.to_dict() == {"optimizer.lr=3.0": 3.0, "optimizer.lr=3.5": 3.5, "optimizer.lr=2.0": 2.0}
    with pytest.raises(ValueError, match=r"condition.*optimizer.lr=2.0, optimizer.lr=3.0"):
        seed_agreement(pd.concat([p.assign(seed=i) for i, p in enumerate(parts)]))


def test_an_interval_says_what_it_holds_and_can_hold_the_text_too() -> None:
    rng = np.random.default_rng(0)
    text_W = 3 + rng.standard_normal(64)
    parts = [
        windows([0.0, -0.5], text_W + 0.1 * rng.standard_normal((2, 64))).assign(run=f"seed={s}", seed=s)
        for s in range(4)
    ]
    frame = pd.concat(parts)
    assert between_seeds(frame)["holds"].unique() == ["seeds"]
    both = seeds_and_text(frame)
    assert both["holds"].unique() == ["seeds and text"]
    assert both["mean"].to_numpy() == pytest.approx(between_seeds(frame)["mean"].to_numpy())
    assert (both["se_text"] > 5 * both["se_seeds"]).all()


def test_other_tokens_at_one_interval_are_refused() -> None:
    late = curve([5.0, 4.0, 3.0], 1).assign(tokens=[0, 1100, 2000])
    with pytest.raises(ValueError, match=r"interval 1 .*seed=0 at 1,000 tokens.*seed=1 at 1,100.*align"):
        between_seeds(pd.concat([curve([5.0, 4.0, 3.0], 0), late]))


def steps(loss: np.ndarray, run: str = "seed=0") -> pd.DataFrame:
    return pd.DataFrame({"run": run, "step": np.arange(1, len(loss) + 1), "train_loss": loss})


def test_planted_step_spikes_and_their_score() -> None:
    loss = 3 + 0.1 * np.random.default_rng(0).standard_normal(3000)
    planted = [1500, 2200, 2900]
    loss[planted] += 2
    found = step_spikes(steps(loss))
    assert np.flatnonzero(found["spike"]).tolist() == planted
    assert found["spike_score"].unique() == pytest.approx([100 * 3 / 3000])
    before = loss[500:1500]
    assert found["z"][1500] == pytest.approx((loss[1500] - before.mean()) / before.std(ddof=1))
    assert spike_scores(found)["spikes"].tolist() == [3]


def test_steps_without_history_or_spread_are_no_spikes() -> None:
    assert step_spikes(steps(np.full(50, 3.0)))["z"].isna().all()
    flat = np.full(500, 0.1)
    assert not step_spikes(steps(flat))["spike"].any()
    flat[300] = 5
    assert np.flatnonzero(step_spikes(steps(flat))["spike"]).tolist() == [300]
    flat[400] = np.nan  # a diverged step
    assert np.flatnonzero(step_spikes(steps(flat))["spike"]).tolist() == [300, 400]
