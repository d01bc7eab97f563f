"""The contest on files, the archive without a family, registered forecasts."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tests.analysis.forecasting.test_default import STEPS, cooldown, planted
from trajlab.analysis.__main__ import main
from trajlab.analysis.curve_laws import PowerLaw, laws
from trajlab.analysis.forecasting import kept
from trajlab.analysis.forecasting.calibration import calibrate
from trajlab.analysis.forecasting.curve_files import read_curves
from trajlab.analysis.forecasting.projection import Projection
from trajlab.analysis.forecasting.published_table import by_law, markdown, write_between
from trajlab.analysis.forecasting.rebuild import Archive
from trajlab.analysis.forecasting.scoring import scores
from trajlab.analysis.forecasting.tournament import COLUMNS, ranking, run_contest, sample


@pytest.fixture
def curves() -> pd.DataFrame:
    """Two families with a cooldown each, 50 losses a curve."""
    lr = cooldown()
    frames = []
    for seed, family in enumerate(("a", "b")):
        loss = planted(lr, 0.2 + 0.05 * seed, seed)
        frames.append(pd.DataFrame({"curve": f"run-{family}", "family": family, "step": STEPS, "loss": loss, "lr": lr}))
    return pd.concat(frames, ignore_index=True).iloc[::5]


def test_one_command_scores_every_law_on_a_file(curves, tmp_path, capsys):
    curves.to_csv(tmp_path / "curves.csv", index=False)
    out = tmp_path / "out"
    main(
        [
            "contest",
            str(tmp_path / "curves.csv"),
            "--out",
            str(out),
            "--fractions",
            "0.4",
            "--laws",
            "power",
            "--leave-family-out",
        ]
    )
    table = pd.read_parquet(out / "scores.parquet")
    assert list(table.columns) == COLUMNS
    assert set(table["law"]) == {"default", "response", "last value", "power"}
    assert (table["n_seen"] == 20).all()
    np.testing.assert_allclose(table["final_error"], table["final_forecast"] - table["final_loss"])
    by_law = table.groupby("law")["final_error"].apply(lambda e: e.abs().mean())
    assert by_law["default"] < by_law["last value"] / 3
    assert (out / "contest.png").exists()
    assert "default" in capsys.readouterr().out


def test_five_nats_on_the_future_change_no_forecast_of_any_law_by_a_bit(curves):
    """The fall has begun, so that the laws of the schedule forecast too."""
    one = curves[curves["curve"] == "run-a"].assign(run="r", lr=lambda c: c["lr"].max() * (1 - c["step"] / 5.1e4))
    spoiled = one.assign(loss=one["loss"] + 5 * (one["step"] > 0.6 * STEPS[-1]))
    found = [run_contest(frame, [0.6], laws=laws()).set_index("law") for frame in (one, spoiled)]
    same = ["final_forecast", "final_low", "final_high", "refused", "n_seen"]
    pd.testing.assert_frame_equal(found[0][same], found[1][same], check_exact=True)
    assert found[0].loc["annealing", "refused"] == ""
    assert {"default", "response", "last value", *(law.name for law in laws())} == set(found[0].index)
    assert (found[1]["final_loss"] - found[0]["final_loss"]).round(9).eq(5).all()


def test_scores_of_a_known_band():
    p = Projection("x", np.array([1.0, 1.0]), np.array([0.5, 0.5]), np.array([1.5, 1.5]))
    found = scores(p, None, np.array([1.0, 2.0]))
    assert found["width"] == 1
    assert found["inside"] == 0.5
    assert found["winkler"] == pytest.approx(1 + 0.5 * 20 * 0.5)
    assert found["final_inside"] == 0
    assert found["final_error"] == -1


def test_a_refusal_ranks_as_the_last_value():
    rows = [("last value", 0.3, ""), ("shy", np.nan, "too thin"), ("good", 0.1, "")]
    base = {"curve": "c", "family": "f", "fraction": 0.4, "final_inside": 1.0, "inside": 1.0, "half_inside": 1.0}
    base |= {"mae": 0.1, "width": 1.0, "winkler": 1.0, "crps": 1.0, "seconds": 0.0}
    ranked = ranking(pd.DataFrame([{**base, "law": law, "final_error": e, "refused": r} for law, e, r in rows]))
    assert ranked["law"].tolist()[0] == "good"
    assert ranked.set_index("law").loc["shy", "final"] == pytest.approx(0.3)


def test_calibrated_quantiles_cover_and_few_families_make_them_wider():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 3, 400)
    covered = []
    for families in (200, 10):
        cell = {"known": True, "ahead": False, "bucket": 2, "family": rng.integers(0, families, 400).astype(str)}
        table = calibrate(pd.DataFrame({"z": z, **cell})).table.iloc[0]
        covered.append(((z > table["q05"]) & (z < table["q95"])).mean())
    assert 0.87 < covered[0] < 0.93 < covered[1]


def test_bands_hold_a_curve_of_one_more_family_though_families_are_few_and_one_is_large():
    """Errors are mostly their family's. Ends of a few families at most hold (F − 1)/(F + 1) of the next ones."""
    rng = np.random.default_rng(0)
    size_F = [60, *(3,) * 4]
    family_C = np.repeat(np.arange(len(size_F)), size_F)
    cell = {"known": True, "ahead": False, "bucket": 2, "family": family_C.astype(str)}
    holds, of_another = [], norm(0, np.hypot(1, 0.3))
    for _ in range(60):
        z_C = rng.normal(0, 1, len(size_F))[family_C] + rng.normal(0, 0.3, len(family_C))
        table = calibrate(pd.DataFrame({"z": z_C, **cell})).table.iloc[0]
        holds.append(of_another.cdf(table["q95"]) - of_another.cdf(table["q05"]))
    assert 0.87 < np.mean(holds) < 0.95


def test_the_archive_forecasts_the_rest_of_a_late_fall_from_amid_it(curves):
    scaled = Archive.of(curves).scaled
    amid = scaled[scaled["known"] & ~scaled["ahead"] & (scaled["fraction"] > 0.8)]
    assert (amid.groupby("curve").size() >= 2).all()
    assert set(amid["curve"]) == {"run-a", "run-b"}
    assert (amid["bucket"] == 4).all()


def test_a_file_that_can_not_enter_is_named(curves, tmp_path):
    curves.drop(columns="loss").to_csv(tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"x\.csv: no column loss"):
        read_curves([tmp_path / "x.csv"])
    with pytest.raises(FileNotFoundError, match="no such curve file"):
        read_curves([tmp_path / "y.csv"])


def test_a_registered_forecast_is_frozen_and_scored(curves, tmp_path, capsys):
    early = curves.assign(loss=curves["loss"].where(curves["step"] <= 0.4 * STEPS[-1]))
    early.to_parquet(tmp_path / "early.parquet")
    curves.to_parquet(tmp_path / "whole.parquet")
    command = ["register", str(tmp_path / "early.parquet"), "--out", str(tmp_path / "frozen")]
    main(command)
    file = sorted((tmp_path / "frozen").glob("*.json"))[0]
    before = file.read_bytes()
    with pytest.raises(SystemExit, match="can't be rewritten"):
        main(command)
    assert file.read_bytes() == before
    capsys.readouterr()
    main(["register", str(tmp_path / "whole.parquet"), "--out", str(tmp_path / "frozen"), "--score"])
    shown = capsys.readouterr().out
    entry = json.loads(before)
    assert f"{entry['registered']:.6f}" in shown
    assert shown.count("same") == 2
    assert "changed" not in shown


def test_a_contest_that_was_killed_goes_on_where_it_stood(curves, tmp_path, monkeypatch):
    first = run_contest(curves.assign(run="r"), [0.4, 0.6], laws=[PowerLaw], keep=tmp_path)
    next(tmp_path.glob("*.parquet")).unlink()  # one curve of two is lost
    fitted = []
    plain = PowerLaw.fit.__func__
    monkeypatch.setattr(PowerLaw, "fit", classmethod(lambda cls, *a, **k: fitted.append(1) or plain(cls, *a, **k)))
    again = run_contest(curves.assign(run="r"), [0.4, 0.6], laws=[PowerLaw], keep=tmp_path)
    assert len(fitted) == 2  # both shares of one curve; nothing of the other
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), again.drop(columns="seconds"))
    changed = curves.assign(run="r", loss=curves["loss"] + 0.1 * (curves["curve"] == "run-a"))
    run_contest(changed, [0.4, 0.6], laws=[PowerLaw], keep=tmp_path)
    assert len(fitted) == 4  # other losses are another curve


def test_a_sample_takes_from_the_families_in_turn():
    frame = pd.DataFrame({"curve": [f"c{i}" for i in range(30)], "family": ["big"] * 26 + list("abcd")})
    chosen = sample(frame, 8, seed=1)["family"].value_counts()
    assert chosen["big"] == 4
    assert chosen.drop("big").tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"model_params_m": [25], "schedule": ["wsd"], "step": [1], "lr": [0.1], "loss": [2.0]}, ("25M-wsd", "25M")),
        ({"model": ["125m"], "tokens_est": [1], "valid_ppl": [np.exp(2.0)]}, ("125m", "125m")),
        ({"group": ["g"], "run": ["r"], "step": [1], "val_loss": [2.0]}, ("g/r", "g")),
        ({"name": ["n"], "_step": [1], "eval/loss": [2.0], "learning_rate": [0.1]}, ("n", "n")),
    ],
)
def test_published_tables_and_logs_enter_as_they_are(tmp_path, columns, expected):
    pd.DataFrame(columns).to_csv(tmp_path / "x.csv", index=False)
    row = read_curves([tmp_path / "x.csv"]).iloc[0]
    assert (row["curve"], row["family"]) == expected
    assert row["step"] == 1
    assert row["loss"] == pytest.approx(2)
    assert np.isnan(row["lr"]) == ("lr" not in columns and "learning_rate" not in columns)


def scored_frame() -> pd.DataFrame:
    """Three families of ten curves: a law with bands that are ten times too narrow, and the last value."""
    rng = np.random.default_rng(0)
    rows = []
    for family in "abc":
        for number in range(10):
            about = {
                "curve": f"{family}{number}",
                "family": family,
                "fraction": 0.4,
                "situation": "decay",
                "final_loss": 3.0,
            }
            for law, spread in (("default", 0.01), ("last value", 0.1)):
                error = rng.normal(0, spread)
                band = {"final_low": 3 + error - 0.001, "final_high": 3 + error + 0.001, "final_inside": 0.0}
                scores_ = {"mae": abs(error), "winkler": 1.0, "crps": 1.0, "half_inside": 0.0}
                rows.append({**about, "law": law, "final_error": error, **band, **scores_, "refused": ""})
    return pd.DataFrame(rows)


def test_every_laws_band_is_widened_to_hold_before_widths_are_compared():
    table = by_law(scored_frame()).set_index("law")
    honest = table["width that holds 90 %"]
    assert 0.02 < honest["default"] < 0.06  # two to six times the spread of its errors; its own bands are 0.002 wide
    assert 5 < honest["last value"] / honest["default"] < 20


def test_the_tables_of_a_page_are_replaced_and_the_rest_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- contest: x -->\nstale\n<!-- end -->\nafter\n")
    write_between(page, "x", markdown(scored_frame(), "the command"))
    text = page.read_text()
    assert text.startswith("before\n<!-- contest: x -->\n`the command`: 30 curves of 3 families.")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "stale" not in text
    assert "| 40 % | default |" in text
    assert "| decay | 40 % | 30 |" in text
    with pytest.raises(ValueError, match="no place for this table"):
        write_between(page, "y", "")


def test_a_family_left_out_leaves_no_trace_in_its_own_forecasts(curves):
    """Five nats on the future of one family: neither its prior nor the errors behind its bands may have seen it."""
    third = curves[curves["curve"] == "run-a"].assign(curve="run-c", family="c", loss=lambda c: c["loss"] + 0.05)
    late = third.assign(curve="run-d", family="d", loss=lambda c: c["loss"] * 1.01)
    frame = pd.concat([curves, third, late], ignore_index=True)
    frame = frame.assign(loss=frame["loss"] + np.random.default_rng(0).normal(0, 1e-3, len(frame)))
    spoiled = frame.assign(loss=frame["loss"] + 5 * ((frame["step"] > 0.4 * STEPS[-1]) & (frame["family"] == "b")))
    made = [run_contest(f[f["family"] == "b"], [0.4], laws=[], archive=Archive.of(f)) for f in (frame, spoiled)]
    same = ["law", "final_forecast", "final_low", "final_high"]
    pd.testing.assert_frame_equal(made[0][same], made[1][same], check_exact=True)
    assert made[0]["final_low"].notna().all()
    spoilt = [run_contest(f[f["family"] == "a"], [0.4], laws=[], archive=Archive.of(f)) for f in (frame, spoiled)]
    assert not spoilt[0][same].equals(spoilt[1][same])  # of other families all is known


def test_what_is_kept_depends_on_every_file_that_makes_the_default():
    """A file left out would let a contest go on with the scores of an older version."""
    folder = Path(kept.__file__).parent
    found, ahead = set(), ["default", "rebuild"]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            text = (folder / f"{name}.py").read_text()
            ahead += re.findall(r"from trajlab\.analysis\.forecasting\.(\w+) import", text)
    assert found <= set(kept.DEFAULT)


def test_files_in_odd_forms_are_read_or_refused_by_name(curves, tmp_path):
    odd = curves.assign(family=curves["family"].where(curves["family"] == "a"), other=1)
    odd.rename(columns=lambda name: f" {name}").sample(frac=1, random_state=0).to_csv(tmp_path / "x.csv", index=False)
    curves.set_index([pd.Index(curves["curve"], name="curve"), curves.index]).to_parquet(tmp_path / "y.parquet")
    plain = curves.assign(run=curves["curve"])[["curve", "step", "loss", "lr", "family", "run"]].reset_index(drop=True)
    x, y = (read_curves([tmp_path / name]) for name in ("x.csv", "y.parquet"))
    pd.testing.assert_frame_equal(x.assign(family=x["family"].replace("run-b", "b")), plain)
    pd.testing.assert_frame_equal(y, plain)
    assert set(x["family"]) == {"a", "run-b"}  # a family that isn't told is the curve's own
    curves.astype(object).assign(loss="-").to_csv(tmp_path / "z.csv")
    with pytest.raises(ValueError, match=r"z\.csv: column loss holds something that is no number"):
        read_curves([tmp_path / "z.csv"])
