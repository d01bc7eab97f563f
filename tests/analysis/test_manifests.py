"""Facts of a run: as its manifest states them, and for older manifests by the one rule that is documented."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from trajlab.analysis.manifests import averagers, mixture_family, position_weighting, single_pass, study


def trained(**config: Any) -> dict[str, Any]:
    basis = {
        "data": {"unique_tokens": None, "context": 100},
        "intervals": {"budget_tokens": 1000},
        "run_keys": ["seed"],
    }
    return {"experiment": "any", "run": "seed=0", "seed": 0, "config": basis | config}


AVERAGING = {"callbacks": {"x": {"averagers": {"a": {"_target_": "trajlab.averaging.lawa"}}}}}
BLOCKS = {"callbacks": {"y": {"_target_": "trajlab.callbacks.position_blocks.PositionBlocks"}}}


@pytest.mark.parametrize(
    ("manifest", "found"),
    [
        (trained() | {"study": "temporal"}, "temporal"),
        (trained(data={"unique_tokens": 10}) | {"study": None}, None),  # what is stated counts, also that it is none
        (trained(), None),
        (trained(data={"unique_tokens": 10}), "budget"),
        (trained(data={"unique_tokens": 1000}), None),
        (trained(data={"unique_tokens": 10}, **AVERAGING), "budget"),
        (trained(data={"unique_tokens": None, "windows_per_step": 4, "context": 8}, **AVERAGING), "averaging"),
        (trained(**BLOCKS), "temporal"),
        (trained(run_keys=["seed", "loss.position_weighting"]), "position_weighting"),
        ({"experiment": "budget", "run": "pythia-70m", "seed": None}, "trajectories"),
        ({"experiment": "e", "run": "r", "seed": 0, "config": None}, None),
    ],
)
def test_the_study(manifest: dict[str, Any], found: str | None) -> None:
    assert study(manifest) == found


@pytest.mark.parametrize("file", sorted((ROOT / "conf/experiment").glob("*budget*.yaml")), ids=lambda f: f.stem)
def test_the_rule_for_older_manifests_on_our_own_experiments(file: Path) -> None:
    """The single-pass control is of no study, whatever its name says."""
    config = yaml.safe_load(file.read_text())
    own = trained(data=config["data"], intervals={"budget_tokens": 20_000_768} | config.get("intervals", {}))
    expected = None if "single_pass" in file.stem else "budget"
    assert study(own) == expected
    assert single_pass(own) == (expected is None)


def test_averagers_are_those_of_the_manifest_or_of_the_configuration() -> None:
    stated = {"averagers": [{"name": "mine", "kind": "custom", "window_tokens": None}]}
    assert averagers(trained(**AVERAGING) | stated) == stated["averagers"]
    nodes = {
        "a": {"_target_": "trajlab.averaging.lawa", "k": 4, "every_tokens": 250},
        "b": {"_target_": "trajlab.averaging.ema", "decay": 0.9},
        "c": {"_target_": "trajlab.averaging.merge", "k": 3, "decay": "cosine", "every_tokens": 10},
        "d": {"_target_": "elsewhere.Odd"},
        "e": None,
    }
    older = trained(data={"windows_per_step": 4, "context": 25}, callbacks={"x": {"averagers": nodes}, "y": None})
    assert [tuple(a.values()) for a in averagers(older)] == [
        ("lawa4", "lawa", 1000),
        ("ema0.9", "ema", pytest.approx(1000)),
        ("merge3_cosine", "merge", 30),
        ("Odd", "Odd", None),
    ]


def test_weighted_positions() -> None:
    stated = {"weighting": "mine", "factor": 0.25, "first": 3, "last": 9}
    older = trained(loss={"position_weighting": "body", "position_factor": 0.5})
    assert position_weighting(older | {"position_weighting": stated}) == ("mine", 0.25, 3, 9)
    assert position_weighting(older) == ("body", 0.5, 11, 90)
    assert position_weighting(older | {"position_weighting": None}) is None
    assert position_weighting(trained()) is None


def test_the_family_of_mixtures() -> None:
    older = trained(measures={"sequences": {"mixture": "material/mixtures/pythia.jsonl"}})
    assert mixture_family(older) == "pythia"
    assert mixture_family(older | {"mixtures": {"family": "opt", "models": ["s", "m"]}}) == "opt"
    assert mixture_family(older | {"mixtures": None}) is None
    assert mixture_family(trained()) is None
