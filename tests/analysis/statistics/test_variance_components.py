"""Where the spread comes from: planted variances, coverage of their intervals."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.statistics.variance_components import variance_components, with_seed_factors


def crossed(levels: tuple[int, ...], sds: tuple[float, ...], rest: float, rng: np.random.Generator) -> pd.DataFrame:
    """A complete crossing of init, order (and dropout) with these standard deviations, named as a sweep names its runs."""
    names = ("init", "order", "dropout")[: len(levels)]
    own = [sd * rng.standard_normal(n) for n, sd in zip(levels, sds, strict=True)]
    rows = []
    for place in np.ndindex(*levels):
        run = ",".join(["seed=0", *(f"seeds.{n}={i}" for n, i in zip(names, place, strict=True))])
        loss = 3 + sum(o[i] for o, i in zip(own, place, strict=True)) + rest * rng.standard_normal()
        rows.append({"run": run, "seed": 0, "interval": 9, "loss": loss})
    return pd.DataFrame(rows)


def test_factors_are_read_from_the_names_of_the_runs() -> None:
    frame = with_seed_factors(crossed((2, 3), (1, 1), 1, np.random.default_rng(0)))
    assert frame["init"].tolist() == [0, 0, 0, 1, 1, 1]
    assert frame["order"].tolist() == [0, 1, 2] * 2
    assert "dropout" not in frame


def test_the_larger_source_is_found() -> None:
    table = variance_components(crossed((8, 8), (0.0, 0.5), 0.1, np.random.default_rng(0))).set_index("source")
    assert table.loc["order", "share"] > 0.8
    assert table.loc["order", "low"] > 0.05
    assert table.loc["init", "low"] == 0
    assert table["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize("levels", [(3, 3), (5, 5), (3, 3, 3)])
def test_intervals_cover_the_planted_variances(levels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    sds, rest, inside = (0.3, 0.1, 0.2)[: len(levels)], 0.1, []
    for _ in range(100):
        table = variance_components(crossed(levels, sds, rest, rng), n_draws=400)
        truth = np.square([*sds, rest])
        inside.append((table["low"] <= truth) & (truth <= table["high"]))
    assert (np.mean(inside, axis=0) >= 0.89).all()


def test_what_is_not_crossed_is_refused() -> None:
    frame = crossed((3, 3), (1, 1), 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"1 cells are missing: \(init=2, order=2\)"):
        variance_components(frame.iloc[:-1])
    with pytest.raises(ValueError, match="more than once"):
        variance_components(pd.concat([frame, frame.head(1)]))
    with pytest.raises(ValueError, match="seeds.init=0..2 seeds.order=0..2"):
        variance_components(frame.assign(run="seed=0"))
