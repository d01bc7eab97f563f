"""Gains of averaging: planted curves with known answers."""

import doctest

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.averaging_gain import (
    against_annealed,
    averager_windows,
    first_reached,
    gain,
    longest_gap,
    over_runs,
    over_seeds,
    run_setups,
    spike_mitigation,
    to_target,
    tokens_saved,
    window_curve,
)


def curve(loss_K, variant="raw", tokens_K=None, seed=0, **columns) -> pd.DataFrame:
    K = len(loss_K)
    frame = pd.DataFrame({"interval": range(K), "tokens": tokens_K or [1000 * k for k in range(K)], "loss": loss_K})
    return frame.assign(
        experiment="e", run=f"seed={seed}", seed=seed, split="valid", variant=variant, seconds_train=36.0, **columns
    )


def test_the_docstrings_examples_hold():
    assert sum(doctest.testmod(module).failed for module in (to_target, over_runs)) == 0


def test_gain_is_the_loss_below_raw_with_a_paired_error():
    rng = np.random.default_rng(0)
    raw_W, shift_W = rng.normal(3, 1, 64), rng.normal(0.1, 0.02, 64)
    frames = []
    for variant, window_W in (("raw", raw_W), ("lawa5", raw_W - shift_W)):
        frame = curve([window_W.mean()], variant, token_count=64 * 8)
        frame["window_nll"] = [window_W * 8]
        frames.append(frame)
    (row,) = gain(pd.concat(frames)).to_dict("records")
    assert row["gain"] == pytest.approx(shift_W.mean(), abs=1e-12)
    assert row["gain_se"] == pytest.approx(shift_W.std(ddof=1) / 8, rel=1e-9)  # not the se of two independent means


def test_a_variant_without_raw_is_refused():
    with pytest.raises(ValueError, match="no raw row"):
        gain(curve([3.0, 2.0], "lawa5"))


def test_a_curve_ahead_by_a_constant_number_of_tokens_saves_that_number():
    """The average is the raw curve 2,500 tokens earlier: every target both reach saves 2,500."""
    loss = 5 - 0.1 * np.arange(21)
    frame = pd.concat([curve(loss), curve(loss - 0.25, "lawa5")])
    saved = tokens_saved(frame, "lawa5", targets=[4.5, 4.0, 3.14])
    assert saved["tokens_saved"].to_numpy() == pytest.approx(2500)
    gap = longest_gap(frame, "lawa5").iloc[0]
    assert gap["tokens_saved"] == pytest.approx(2500)
    assert gap["hours_saved"] == pytest.approx(2.5 * 36 / 3600)  # 36 s for each 1,000 tokens


def test_without_a_gain_the_longest_gap_has_no_excess():
    """The maximum of noise was over 0 in 80 % of data sets without a gain; the excess changes its sign with the labels."""
    rng = np.random.default_rng(0)
    frame = pd.concat(
        curve(4 - 0.1 * np.arange(8) + 0.08 * rng.standard_normal(8), v, seed=s) for s in range(6) for v in ("raw", "x")
    )
    gaps = longest_gap(frame, "x").dropna(subset=["tokens_saved"])
    swapped = frame.assign(variant=frame["variant"].map({"raw": "x", "x": "raw"}))
    other = longest_gap(swapped, "x").dropna(subset=["tokens_saved"])
    assert (gaps["tokens_saved"] >= 0).all()
    assert over_seeds(gaps, "tokens_saved", ["variant"])["mean"].iloc[0] > 300
    assert gaps["excess"].to_numpy() == pytest.approx(-other["excess"].to_numpy(), abs=1e-9)
    found = over_seeds(gaps, "excess", ["variant"]).iloc[0]
    assert found["ci_low"] <= 0 <= found["ci_high"]


def test_the_longest_gap_finds_the_stretch_where_raw_stalls():
    """Raw stalls at 2.0 until 6,000; the average goes below it at once."""
    raw = curve([4.0, 3.0, 2.0, 2.1, 2.1, 2.05, 1.9, 1.0])
    average = curve([3.9, 2.9, 1.9, 1.85, 1.8, 1.7, 1.6, 1.5], "lawa5")
    gap = longest_gap(pd.concat([raw, average]), "lawa5").iloc[0]
    assert gap["target"] == pytest.approx(1.9, abs=0.11)
    by_hand = max(
        first_reached(raw["tokens"].to_numpy(float), raw["loss"].to_numpy(), level)
        - first_reached(raw["tokens"].to_numpy(float), average["loss"].to_numpy(), level)
        for level in np.linspace(3.9, 1.5, 4_801)
    )
    assert gap["tokens_saved"] == pytest.approx(by_hand, abs=30)


def test_a_target_that_a_curve_never_reaches_is_reported_and_not_counted():
    frame = pd.concat([curve([4.0, 3.0, 2.5]), curve([4.0, 2.8, 2.0], "lawa5")])
    saved = tokens_saved(frame, "lawa5", targets=[3.0, 2.2, 1.0])
    assert list(saved["reached"]) == ["both", "variant", "neither"]
    assert saved["tokens_saved"].isna().tolist() == [False, True, True]
    assert longest_gap(frame, "lawa5")["never_reached"].iloc[0] == pytest.approx(0.5)


def test_an_average_that_begins_below_a_target_says_nothing_about_it():
    """A late SWA: when it would have reached 3.0 is unknown, and it counts neither for nor against."""
    late = curve([4.0, 3.0, 2.0, 1.5]).assign(variant="swa").iloc[2:]
    saved = tokens_saved(pd.concat([curve([4.0, 3.0, 2.0, 1.5]), late]), "swa", targets=[3.0, 1.75])
    assert saved["reached"].tolist() == ["before", "both"]
    assert saved["tokens_saved"].fillna(-1).tolist() == [-1, 0]


def test_default_targets_are_reached_by_every_run():
    frames = [
        curve([5.0 + 0.1 * s, 4, 3, 2.5 + 0.1 * s, 2 + 0.1 * s], v, seed=s) for s in range(3) for v in ("raw", "x")
    ]
    saved = tokens_saved(pd.concat(frames), "x")
    assert set(saved.loc[saved["target_at"] > 0.25, "reached"]) == {"both"}
    assert saved["tokens_saved"].abs().max() == 0
    assert sorted(saved["target_at"].unique()) == [0.25, 0.5, 0.75, 1.0]
    assert saved["target"].min() == pytest.approx(2.2)


def test_a_worse_average_saves_a_negative_number_of_tokens():
    frame = pd.concat([curve([4.0, 3.0, 2.0]), curve([4.0, 3.5, 3.0], "swa")])
    assert tokens_saved(frame, "swa", targets=[3.0])["tokens_saved"].iloc[0] == -1000


def planted_spike(rise: float) -> list[float]:
    rng = np.random.default_rng(1)
    loss = 3 - 0.05 * np.arange(16) + rng.normal(0, 0.004, 16)
    loss[9] += rise
    loss[10] += rise / 2
    return loss.tolist()


def test_a_planted_spike_is_found_and_its_mitigation_measured():
    raw, flat = planted_spike(1.0), planted_spike(0.2)
    frame = pd.concat([curve(raw), curve(flat, "lawa5")])
    (row,) = spike_mitigation(frame, "lawa5").to_dict("records")
    assert row["interval"] == 9
    assert row["ratio"] == pytest.approx((flat[9] - flat[8]) / (raw[9] - raw[8]), rel=1e-12)
    assert 0 < row["ratio"] < 0.2


def test_an_average_of_raw_itself_mitigates_nothing():
    frame = pd.concat([curve(planted_spike(1.0)), curve(planted_spike(1.0), "lawa1")])
    assert spike_mitigation(frame, "lawa1")["ratio"].iloc[0] == 1


def test_a_falling_curve_has_no_spike_even_where_it_slows():
    slowing = np.exp(-np.arange(30) / 3)
    assert spike_mitigation(pd.concat([curve(slowing), curve(slowing, "lawa5")]), "lawa5").empty


MANIFEST = {
    "experiment": "e",
    "run": "seed=0",
    "config": {
        "data": {"windows_per_step": 4, "context": 25},
        "intervals": {"budget_tokens": 100_000},
        "callbacks": {
            "telemetry": {"_target_": "x"},
            "gone": None,
            "averaging": {
                "averagers": {
                    "a": {"_target_": "trajlab.averaging.lawa", "k": 4, "every_tokens": 250},
                    "b": {"_target_": "trajlab.averaging.ema", "decay": 0.9},
                    "c": {"_target_": "trajlab.averaging.swa", "start": 5, "every_steps": 2, "name": "late"},
                }
            },
        },
    },
}


def test_windows_are_read_from_the_configuration():
    windows = averager_windows([MANIFEST]).set_index("variant")
    assert windows.loc["lawa4", "window_share"] == pytest.approx(0.01)
    assert windows.loc["ema0.9", "window_tokens"] == pytest.approx(1000)  # ten updates of 100 tokens
    assert np.isnan(windows.loc["late", "window_share"])


def test_the_window_curve_averages_the_gain_by_quarter():
    raw, average = [2.0] * 9, [2.0, *[1.9] * 2, *[1.8] * 2, *[1.7] * 2, *[1.6] * 2]
    frame = pd.concat([curve(raw), curve(average, "lawa4")])
    table = window_curve(gain(frame)[lambda g: g["interval"] > 0], averager_windows([MANIFEST]))
    assert table["until"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert table["gain"].to_numpy() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_annealed_runs_are_compared_at_their_own_end():
    long = pd.concat([curve([4.0, 3.0, 2.0]), curve([4.0, 2.8, 1.9], "lawa5")])
    short = curve([4.0, 2.5], tokens_K=[0, 1500])
    table = against_annealed(long, short).set_index("variant")
    assert table.loc["raw", "behind"] == pytest.approx(2.5 - 2.5)
    assert table.loc["lawa5", "behind"] == pytest.approx(2.35 - 2.5)
    assert against_annealed(long, curve([4.0, 1.0], tokens_K=[0, 9000])).empty


def test_the_interval_over_seeds_is_students():
    table = over_seeds(pd.DataFrame({"v": "a", "x": [1.0, 2.0, 3.0, np.nan]}), "x", ["v"]).iloc[0]
    assert (table["mean"], table["n"]) == (2.0, 3)
    assert table["ci_high"] - table["mean"] == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)


def test_a_published_series_has_no_seed_and_a_gain_all_the_same() -> None:
    rows = [
        ("series", "opt", np.nan, "valid", i, i * 100, v, 3.0 - i - (v != "raw"))
        for i in (0, 1)
        for v in ("raw", "lawa5")
    ]
    columns = ["experiment", "run", "seed", "split", "interval", "tokens", "variant", "loss"]
    gains = gain(pd.DataFrame(rows, columns=columns))
    assert gains["gain"].tolist() == [1.0, 1.0]
    assert gains["progress"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("other", [{"data": "b"}, {"architecture": "wide"}, {"batch": 64}, {"order": 1}])
def test_a_run_on_other_data_or_of_another_model_is_no_control(other: dict[str, object]) -> None:
    same = {"data": "a", "architecture": "narrow", "batch": 32, "order": 0}
    long = pd.concat([curve([4.0, 3.0, 2.0], **same), curve([4.0, 2.8, 1.9], "lawa5", **same)])
    short = curve([2.0, 0.7], tokens_K=[0, 1500], **(same | other))
    assert against_annealed(long, short).empty
    assert len(against_annealed(long, short.assign(**same))) == 2


def test_what_a_control_must_share_is_read_from_the_manifests() -> None:
    def manifest(run: str, source: str, **model: int) -> dict[str, object]:
        config = {**MANIFEST["config"], "model": {"_target_": "x", **model}, "seed": 0}
        return {"experiment": "e", "run": run, "seed": 0, "config": config, "data": {"fingerprint": source}}

    a, b, c = run_setups(
        [manifest("a", "f", width=1), manifest("b", "f", width=1), manifest("c", "g", width=2)]
    ).to_dict("records")
    shared = ("data", "architecture", "batch", "order")
    assert all(a[k] == b[k] for k in shared)
    assert [k for k in shared if a[k] != c[k]] == ["data", "architecture"]
