"""Registered forecasts: no silent way to change, lose or score them wrongly."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.analysis.forecasting.test_default import STEPS, cooldown, planted
from trajlab.analysis.__main__ import main
from trajlab.analysis.forecasting.registered import (
    freeze,
    frozen,
    register_curves,
    score_registered,
    score_run,
    unscored,
)


def whole(names: list[object]) -> pd.DataFrame:
    lr = cooldown()
    parts = [
        pd.DataFrame({"curve": [name] * 250, "step": STEPS, "loss": planted(lr, 0.25, i), "lr": lr})
        for i, name in enumerate(names)
    ]
    return pd.concat(parts, ignore_index=True)


def early(curves: pd.DataFrame, share: float = 0.4) -> pd.DataFrame:
    return curves.assign(loss=curves["loss"].where(curves["step"] <= share * STEPS[-1]))


@pytest.mark.parametrize("key", ["registered", "low", "high", "made", "evidence_sha256", "seen"])
def test_an_edited_file_is_told_by_its_seal(tmp_path: Path, key: str) -> None:
    curves = whole(["a"])
    (path,) = register_curves(early(curves), tmp_path)
    assert score_registered(tmp_path, curves)["evidence"].tolist() == ["same"]
    entry = json.loads(path.read_text())
    entry[key] = entry[key] - 1 if isinstance(entry[key], float) else "2026-01-01"
    path.write_text(json.dumps(entry))
    assert score_registered(tmp_path, curves)["evidence"].tolist() == ["rewritten"]


def test_other_losses_before_the_mark_are_told(tmp_path: Path) -> None:
    curves = whole(["a"])
    register_curves(early(curves), tmp_path)
    other = curves.assign(loss=curves["loss"] + 1e-9 * (curves["step"] == STEPS[3]))
    assert score_registered(tmp_path, other)["evidence"].tolist() == ["changed"]
    later = curves.assign(loss=curves["loss"] + 1e-3 * (curves["step"] > 0.5 * STEPS[-1]))
    assert score_registered(tmp_path, later)["evidence"].tolist() == ["same"]


def test_names_that_are_no_file_names_stay_apart_and_numbers_are_names(tmp_path: Path) -> None:
    names: list[object] = ["g/r", "g r", "g_r", "x" * 300, 7]
    curves = whole(names)
    assert len(set(register_curves(early(curves), tmp_path))) == 5
    scored = score_registered(tmp_path, curves)
    assert set(scored["curve"]) == {*map(str, names)}
    assert (scored["evidence"] == "same").all()


def test_curves_that_are_new_are_registered_though_others_were(tmp_path: Path) -> None:
    curves = whole(["a", "b"])
    register_curves(early(curves[curves["curve"] == "a"]), tmp_path)
    with pytest.raises(ValueError, match=r"a@20000\.json is registered already.*; 1 others were registered"):
        register_curves(early(curves), tmp_path)
    assert len(list(tmp_path.glob("b@*.json"))) == 1


def test_what_has_no_loss_at_its_end_waits_and_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves = whole(["a", "b"])
    register_curves(early(curves), tmp_path / "r")
    b_goes_on = curves["curve"].eq("b") & curves["step"].gt(0.9 * STEPS[-1])
    far = curves.assign(step=curves["step"] + 6000 * b_goes_on)  # its next loss lies far beyond the registered end
    scored = score_registered(tmp_path / "r", far)
    assert scored["curve"].tolist() == ["a"]
    assert unscored(tmp_path / "r", scored) == ["b at 50000"]
    far.to_parquet(tmp_path / "far.parquet")
    main(["register", str(tmp_path / "far.parquet"), "--out", str(tmp_path / "r"), "--score"])
    assert "1 not scored, no loss at their end in these files: b at 50000" in capsys.readouterr().out


def test_a_run_ends_though_a_registered_file_is_broken_or_for_another_end(tmp_path: Path) -> None:
    from trajlab.analysis.forecasting.default import outlook

    loss, lr = planted(cooldown(), 0.25), cooldown()
    o = outlook(STEPS[:100], loss[:100], STEPS[100:], lr)
    entry = {"share": 0.4, **frozen(o, STEPS[:100], loss[:100])}
    folder = tmp_path / "registered"
    assert freeze(folder / "at_40_percent.json", entry)
    assert freeze(folder / "at_50_percent.json", {**entry, "share": 0.5, "target": 60_000.0})
    (folder / "at_20_percent.json").write_text('{"half')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = score_run(tmp_path, STEPS, loss)
    assert table["share"].tolist() == [0.4]
    assert table["evidence"].tolist() == ["same"]
    said = " ".join(str(w.message) for w in caught)
    assert "at_20_percent.json can't be read" in said
    assert "for an end at 60000, not 50000" in said
    first = (folder / "scores.json").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score_run(tmp_path, STEPS, loss)
    assert (folder / "scores.json").read_bytes() == first  # scoring twice changes nothing
    assert np.isfinite(table["z"]).all()
