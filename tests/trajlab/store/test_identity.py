"""Two configurations are the same run by their values, wherever the code of trajlab lies."""

from typing import Any

import pytest

from trajlab.store.identity import differing_keys

# as a run stored it when callbacks were a package of their own and modules lay flat in trajlab
BEFORE: dict[str, Any] = {
    "name": "study",
    "seed": 0,
    "runs_dir": "/somewhere",
    "task": {"_target_": "trajlab.run.train"},
    "data": {"source": "embedded", "context": 16, "sample_seed": 0, "window_offset": "random"},
    "schedule": {"_target_": "trajlab.schedules.Constant", "budget_tokens": 640, "warmup_tokens": 64},
    "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.003},
    "callbacks": {
        "position_loss": {"_target_": "callbacks.position_loss.PositionLoss", "splits": None},
        "averaging": {
            "_target_": "callbacks.checkpoint_averaging.CheckpointAveraging",
            "averagers": [{"_target_": "trajlab.averaging.lawa", "k": 5, "every_tokens": 64}],
        },
    },
}


def now(**changes: Any) -> dict[str, Any]:
    """The same configuration as it is composed today."""
    config: dict[str, Any] = {
        **BEFORE,
        "runs_dir": "elsewhere",
        "task": {"_target_": "trajlab.tasks.train.train"},
        "schedule": {**BEFORE["schedule"], "_target_": "trajlab.training.schedules.Constant"},
        "callbacks": {
            "position_loss": {"_target_": "trajlab.callbacks.position_loss.PositionLoss"},
            "averaging": {
                "_target_": "trajlab.callbacks.checkpoint_averaging.CheckpointAveraging",
                "averagers": [{"_target_": "trajlab.averaging.lawa", "k": 5, "every_tokens": 64, "start": 1}],
            },
        },
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        node = config
        for part in path:
            node[part] = dict(node[part])
            node = node[part]
        node[last] = value
    return config


def test_a_run_from_before_the_files_moved_is_the_same() -> None:
    assert differing_keys(BEFORE, now()) == []


def test_a_class_with_another_name_is_the_same_choice() -> None:
    renamed = {"callbacks": {"p": {"_target_": "trajlab.callbacks.position_loss.FormerName"}}}
    today = {"callbacks": {"p": {"_target_": "trajlab.callbacks.position_loss.PositionLoss"}}}
    assert differing_keys(renamed, today) == []


@pytest.mark.parametrize(
    ("key", "value", "differing"),
    [
        ("schedule___target_", "trajlab.training.schedules.Cosine", "schedule._target_"),
        ("optimizer___target_", "torch.optim.SGD", "optimizer._target_"),
        ("optimizer__lr", 0.01, "optimizer.lr"),
        ("data__source", "trajlab.jsonl", "data.source"),
        ("callbacks__position_loss__splits", ["valid"], "callbacks.position_loss.splits"),
    ],
)
def test_another_choice_or_value_is_named(key: str, value: Any, differing: str) -> None:
    assert [d.key for d in differing_keys(BEFORE, now(**{key: value}))] == [differing]


def test_two_rules_side_by_side_are_two_choices() -> None:
    stored, asked = ({"a": {"_target_": f"trajlab.averaging.{n}", "k": 5, "every_steps": 1}} for n in ("lawa", "merge"))
    assert [d.key for d in differing_keys(stored, asked)] == ["a._target_"]


def test_a_file_that_looks_like_a_path_into_trajlab_is_a_value() -> None:
    stored, asked = ({"data": {"source": f"analysis.{name}"}} for name in ("a", "b"))
    assert [d.key for d in differing_keys(stored, asked)] == ["data.source"]


def test_a_default_that_an_older_run_lacks_is_no_difference() -> None:
    stored, asked = {"data": {"context": 8}}, {"data": {"context": 8, "window_offset": "fixed"}}
    assert differing_keys(stored, asked) == []
    asked["data"]["window_offset"] = "random"
    assert differing_keys(stored, asked) == [("data.window_offset", "fixed", "random")]
    lawa = {"a": {"_target_": "trajlab.averaging.lawa", "every_tokens": 8}}
    assert differing_keys(lawa, {"a": {**lawa["a"], "k": 5}}) == []
    assert differing_keys({"a": {**lawa["a"], "k": 5}}, lawa) == []
    assert differing_keys(lawa, {"a": {**lawa["a"], "k": 6}}) == [("a.k", 5, 6)]


def test_what_only_one_side_has_counts() -> None:
    assert differing_keys({"a": 1}, {"a": 1, "b": {"c": 0}}) == [("b.c", None, 0)]
    assert differing_keys({"a": 1}, {"a": 1, "b": {}, "c": None}) == []


def test_where_and_how_loudly_is_no_difference() -> None:
    asked = now(overwrite=True, logger={"csv": {"_target_": "x.Y"}}, study="budget")
    assert differing_keys(BEFORE, asked) == []
