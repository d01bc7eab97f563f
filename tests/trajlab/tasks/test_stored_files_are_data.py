"""A run folder that somebody sent: whatever its files name, nothing of it is built, imported or looked up.

Each fault plants something that would make a file, the canary, if it were executed.
"""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import MICRO, run_here
from trajlab.checkpoints.convert import run_tokenizer
from trajlab.config.stored import OWN_CORPORA
from trajlab.data import corpora
from trajlab.errors import UserError
from trajlab.store.manifest import stored_config


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run_here(*MICRO, f"runs_dir={folder}")
    return next(folder.glob("*/seed=0"))


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / whole.parent.name / whole.name
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns(".lock"))
    return folder


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def plant(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def touch(canary: Path) -> dict[str, Any]:
    return {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(canary)]}}


def evil_module(folder: Path, canary: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "evil_corpus.py").write_text(f"open({str(canary)!r}, 'w')\nclass Corpus: ...\n")
    monkeypatch.syspath_prepend(str(folder))
    return "evil_corpus.Corpus"


def average(run: Path) -> None:
    run_here("task=average", f'runs="{run}"', "scheme=uniform")


READERS = {"average": average, "tokenizer": run_tokenizer}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("split", [False, True])
def test_a_stored_corpus_is_not_built(
    run: Path,
    canary: Path,
    reader: Callable[[Path], None],
    split: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imported = {"_target_": evil_module(tmp_path, canary, monkeypatch)}
    for node in (touch(canary), imported):

        def change(manifest: dict[str, Any], node: dict[str, Any] = node) -> None:
            data = manifest["config"]["data"]
            (data["validation"]["valid"] if split else data)["source"] = node

        plant(run, change)
        with pytest.raises(UserError, match=r"not built on a stored file's word.*name it in the command"):
            reader(run)
        assert not canary.exists()


def test_a_stored_corpus_of_trajlab_s_own_has_plain_values_alone(run: Path, canary: Path) -> None:
    for value in (touch(canary), "${oc.env:HOME}", [touch(canary)]):
        node = {"_target_": OWN_CORPORA[1], "path": value}
        plant(run, lambda m, node=node: m["config"]["data"].update(source=node))  # type: ignore[misc]
        with pytest.raises(UserError, match="isn't plain"):
            run_tokenizer(run)
        assert not canary.exists()


def test_the_names_of_trajlab_s_own_corpora_are_those_of_today() -> None:
    assert {path.rsplit(".", 1)[1] for path in OWN_CORPORA} <= set(vars(corpora))


def test_a_corpus_that_the_command_names_is_built(run: Path) -> None:
    target = "tests.trajlab.data.test_own_corpus.Nothing"
    plant(run, lambda m: m["config"]["data"].update(source={"_target_": target}))
    with pytest.raises(UserError, match="is no corpus: it lacks name"):
        run_tokenizer(run, [target])  # built, since it is named, and found to be none


@pytest.mark.parametrize("target", ["pandas.read_pickle", "torch.load", "joblib.load"])
def test_stored_callbacks_are_not_built(run: Path, canary: Path, target: str) -> None:
    bad = canary.with_name("bad.pickle")
    if target == "torch.load":
        torch.save(Executes(canary), bad)
    else:
        bad.write_bytes(pickle.dumps(Executes(canary)))
    plant(run, lambda m: m["config"]["callbacks"].update(evil={"_target_": target, "_args_": [str(bad)]}))
    average(run)
    assert not canary.exists()


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "\\${oc.env:HOME}", "\\\\${oc.env:HOME}", "a${oc.env:HOME}${b}"])
def test_references_stay_the_text_that_they_are(text: str) -> None:
    manifest = {"config": {"data": {"source": text, "list": [text]}}}
    config = stored_config(manifest)
    assert config.data.source == text
    assert config.data.list[0] == text


def test_the_environment_stays_out_of_what_a_reader_opens(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.txt").write_text("told<|endoftext|>" * 40)
    monkeypatch.setenv("SECRET", str(tmp_path / "secret.txt"))
    plant(run, lambda m: m["config"]["data"].update(source="${oc.env:SECRET}"))
    with pytest.raises(UserError, match=r"data\.source=\$\{oc\.env:SECRET\}: no such file"):
        run_tokenizer(run)


class Executes:
    """Unpickled in full, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.canary), "w")
