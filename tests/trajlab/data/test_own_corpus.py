"""A corpus of a class that trajlab doesn't know: sampled, stored and resumed as its own are."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from trajlab.data.corpora import resolve
from trajlab.errors import UserError

NODE = "{_target_: tests.trajlab.data.test_own_corpus.Counting, first: 3}"


@dataclass
class Counting:
    """Numbers in words and figures, without end in neither split being in the other."""

    first: int
    warning: str | None = None
    shuffled: bool = False

    @property
    def name(self) -> str:
        return f"counting from {self.first}"

    def identity(self) -> str:
        return self.name

    def documents(self, split: str) -> Iterator[str]:
        odd = split == "validation"
        return (f"The number {2 * i + odd} comes before {2 * i + odd + 1}." for i in range(self.first, 400))


class Nothing:
    """No corpus at all."""


def test_a_node_is_built(tmp_path: Path) -> None:
    corpus = resolve({"_target_": f"{__name__}.Counting", "first": 3}, "", tmp_path)
    assert next(corpus.documents("train")) == "The number 6 comes before 7."


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no corpus: it lacks name"):
        resolve({"_target_": f"{__name__}.Nothing"}, "", tmp_path)


def test_a_run_on_it_is_sampled_and_its_source_stored(micro: Callable[..., Path]) -> None:
    folder = micro(f"data.source={NODE}", f"+data.validation.other={{windows: 4, source: {NODE.replace('3', '9')}}}")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["data"]["source"] == "counting from 3"
    assert manifest["data"]["windows"] == {"valid": 8, "other": 4}
    assert manifest["config"]["data"]["source"] == {
        "_target_": "tests.trajlab.data.test_own_corpus.Counting",
        "first": 3,
    }
    unsampled = micro(f"data.source={NODE}", "data.sample_seed=null", runs="unsampled")
    other = json.loads((unsampled / "manifest.json").read_text())
    assert other["data"]["fingerprint"] != manifest["data"]["fingerprint"]


def test_another_value_of_it_is_another_run(micro: Callable[..., Path]) -> None:
    micro(f"data.source={NODE}")
    with pytest.raises(UserError, match=r"data\.source\.first: 3 there, 4 asked for"):
        micro(f"data.source={NODE.replace('3', '4')}")
