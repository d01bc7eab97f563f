"""Claims about averages, forecasts and position weighting: planted effects, and their absence."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.claims import check, temporal
from trajlab.analysis.claims.averaging import averaging_claims, mitigated
from trajlab.analysis.claims.temporal import forecast_claims, weighting_claims
from trajlab.analysis.load import Runs
from trajlab.analysis.position_law import hyperbola


def pairs(gain: float, seeds: int = 5, spikes: bool = False, noise: float = 0.01) -> pd.DataFrame:
    """Raw curves and an average's, ``gain`` nats lower; raw spikes and the average doesn't."""
    rng, frames = np.random.default_rng(0), []
    for s in range(seeds):
        for variant in ("raw", "lawa5"):
            loss_K = 4 - 0.06 * np.arange(24) + noise * rng.standard_normal(24)
            if variant == "raw" and spikes:
                loss_K[[10, 17]] += 0.6
            frame = pd.DataFrame({"interval": range(24), "tokens": 1000 * np.arange(24), "loss": loss_K})
            frame["loss"] -= gain * (variant != "raw")
            frames.append(frame.assign(experiment="e", run=f"seed={s}", seed=s, split="valid", variant=variant))
    return pd.concat(frames, ignore_index=True)


def words(frame: pd.DataFrame) -> list[str]:
    return [c.verdict for c in averaging_claims(frame, "lawa5")]


def test_a_planted_gain_is_faster_and_saves_compute() -> None:
    assert words(pairs(0.1))[:3] == ["supported"] * 3
    assert words(pairs(-0.1))[:2] == ["contradicted"] * 2


def test_without_a_gain_nothing_is_supported() -> None:
    assert "supported" not in words(pairs(0.0, noise=0.05))


def test_planted_spikes_are_mitigated() -> None:
    assert words(pairs(0.0, spikes=True))[3] == "supported"


def test_what_is_mitigated_changes_sign_with_the_labels() -> None:
    frame = pairs(0.0, spikes=True, noise=0.05)
    swapped = frame.assign(variant=frame["variant"].map({"raw": "lawa5", "lawa5": "raw"}))
    np.testing.assert_allclose(mitigated(frame, "lawa5"), -mitigated(swapped, "lawa5"))


def test_two_seeds_test_nothing() -> None:
    table = check(Runs({"intervals": pairs(0.1, seeds=2)}, []), "averaging")
    assert (table["verdict"] == "not testable").all()
    assert table["reason"].str.contains("needs three").all()


def weighted(shift: float, spread: float = 0.002) -> Runs:
    rng, rows, manifests = np.random.default_rng(1), [], []
    for s in range(5):
        for name, span in (("none", (None, None)), ("head", (1, 2))):
            run = f"seed={s},loss.position_weighting={name}"
            entry = {"weighting": name, "factor": 0.5, "first": span[0], "last": span[1]}
            base = {"experiment": "e", "run": run, "seed": s, "status": "finished"}
            manifests.append({**base, "study": "position_weighting", "position_weighting": entry})
            loss = 3 + shift * (name == "head") + spread * rng.standard_normal()
            for position in range(1, 9):
                row = {"experiment": "e", "run": run, "seed": s, "variant": "raw", "split": "valid", "tokens": 100}
                rows.append({**row, "interval": 1, "position": position, "nll_sum": 50 * loss, "count": 50})
    return Runs({"positions": pd.DataFrame(rows)}, manifests)


def test_no_advantage_is_an_equivalence() -> None:
    assert list(weighting_claims(weighted(0.0))["verdict"]) == ["supported"]
    assert list(weighting_claims(weighted(-0.1))["verdict"]) == ["contradicted"]
    assert list(weighting_claims(weighted(0.0, spread=0.1))["verdict"]) == ["undecided"]


def positions(noise: float, seeds: int = 3) -> Runs:
    """Runs of 40 checkpoints that obey the temporal law, or have no trend at all."""
    n_K = np.linspace(0.5, 20, 40)
    law = (0.25 * np.log(n_K) + 1.8, 0.15 / (1 + 0.4 * n_K) + 0.05, 2.5 / (1 + 0.3 * n_K) + 2.0)
    loss_KP = hyperbola(*law, np.arange(1.0, 65)) if noise < 0.1 else np.full((40, 64), 4.0)
    rng, frames = np.random.default_rng(2), []
    for s in range(seeds):
        count = 1000
        sums_KP = count * (loss_KP + noise * rng.standard_normal(loss_KP.shape))
        grid = (
            pd.DataFrame(sums_KP)
            .reset_index(names="interval")
            .melt("interval", var_name="position", value_name="nll_sum")
        )
        grid = grid.assign(position=grid["position"].astype(int) + 1, tokens=(1e6 * n_K)[grid["interval"]].astype(int))
        frames.append(grid.assign(experiment="e", run=f"seed={s}", seed=s, variant="raw", split="valid", count=count))
    frame = pd.concat(frames, ignore_index=True)
    return Runs({"positions": frame.assign(nll_sq_sum=frame["nll_sum"] ** 2 / frame["count"])}, [])


def test_the_temporal_law_leads_where_runs_obey_it_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "FRACTIONS", (0.4,))
    table = forecast_claims(positions(1e-3))
    assert len(table) >= 3
    assert set(table["verdict"]) == {"supported"}
    assert (table["ci_low"] > 0).all()
    assert table["holds"].str.contains("seeds").all()
    assert "supported" not in set(forecast_claims(positions(0.2))["verdict"])
    assert set(forecast_claims(positions(1e-3, seeds=2))["verdict"]) == {"not testable"}


def test_no_positions_no_claims() -> None:
    assert check(Runs({}), "temporal").empty
    assert check(Runs({}), "position_weighting").empty
