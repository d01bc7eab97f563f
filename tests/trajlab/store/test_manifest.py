"""What a manifest states, and how a stored configuration is read."""

import math

import pytest

from trajlab import averaging
from trajlab.averaging import Averager
from trajlab.store.manifest import _mixtures, _position_weighting, model_description, stored_config
from trajlab.training.position_weights import position_weights


@pytest.mark.parametrize(
    ("averager", "kind", "every", "start", "snapshots"),
    [
        (averaging.lawa(4, every_steps=10), "lawa", 640, 64, 4),
        (averaging.lawa(4, every_tokens=100, start=7), "lawa", 100, 7, 4),
        (averaging.merge(3, every_tokens=100), "merge", 100, 1, 3),
        (averaging.ema(0.9), "ema", 64, 64, 10),
        (averaging.swa(5, every_steps=2), "swa", 128, 320, None),
        (Averager("mine", averaging.Mean(), 1, "steps", 0), "custom", 64, 0, None),
    ],
)
def test_an_averager_states_its_window_in_tokens(averager, kind, every, start, snapshots) -> None:
    facts = averager.facts(64)
    assert (facts["name"], facts["kind"], facts["every_tokens"], facts["start_tokens"]) == (
        averager.name, kind, every, start,
    )  # fmt: skip
    assert facts["decay"] == (0.9 if kind == "ema" else None)
    if snapshots is None:
        assert facts["window_snapshots"] is facts["window_tokens"] is None
    else:
        assert math.isclose(facts["window_tokens"], snapshots * every)


def test_an_averager_that_counts_steps_of_an_unknown_size_says_nothing_in_tokens() -> None:
    facts = averaging.lawa(4, every_steps=1).facts(None)
    assert facts["every_tokens"] is facts["start_tokens"] is facts["window_tokens"] is None
    assert averaging.lawa(4, every_tokens=8).facts(None)["window_tokens"] == 32


@pytest.mark.parametrize("context", [16, 25, 256])
@pytest.mark.parametrize("weighting", ["none", "head", "body", "tail"])
def test_the_positions_that_are_stated_are_those_that_are_weighted(weighting: str, context: int) -> None:
    loss = {"position_weighting": weighting, "position_factor": 0.25}
    stated = _position_weighting({"loss": loss, "data": {"context": context}})
    assert stated is not None
    weights_T = position_weights(context, weighting, 0.25)
    if weights_T is None:
        assert stated["first"] is stated["last"] is None
        return
    positions = [p for p, w in enumerate(weights_T.tolist(), start=1) if w == 0.25]
    assert (stated["first"], stated["last"]) == (positions[0], positions[-1])
    assert len(positions) == stated["last"] - stated["first"] + 1


def test_a_run_that_trains_nothing_states_no_weighting_and_no_model() -> None:
    plain = {"model": {"name": "pythia-160m"}, "measures": {"sequences": {"mixture": "some/where/pythia.jsonl"}}}
    assert _position_weighting(plain) is None
    assert model_description(plain) is None
    assert _mixtures(plain) == {"family": "pythia", "models": None}
    assert _mixtures(plain | {"mixtures": {"pythia": ["s", "m"]}}) == {"family": "pythia", "models": ["s", "m"]}
    assert _mixtures({"measures": {}}) is None


def test_a_stored_configuration_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "told")
    stored = {"config": {"name": "${oc.env:SECRET}", "list": ["${name}"], "data": {"context": 4}}}
    config = stored_config(stored)
    assert config.name == "${oc.env:SECRET}"
    assert config.list[0] == "${name}"
    assert config.data.window_offset == "fixed", "what a run did before there was such a key"
    assert "window_offset" not in stored["config"]["data"], "the manifest itself stays as it is"
