"""Where text comes from."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trajlab.data import corpora
from trajlab.data.corpora import HubCorpus, PathCorpus, resolve
from trajlab.errors import UserError

STORIES = [f"Story {i}.\nIt has two lines." for i in range(200)]


def write(folder: Path, kind: str) -> Path:
    path = folder / f"stories.{kind}"
    if kind == "txt":
        path.write_text("<|endoftext|>\n".join(STORIES))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"text": s}) for s in STORIES))
    else:
        pq.write_table(pa.table({"text": STORIES}), path)
    return path


@pytest.mark.parametrize("kind", ["txt", "jsonl", "parquet"])
def test_every_kind_of_file_gives_the_same_documents_in_disjoint_splits(kind: str, tmp_path: Path) -> None:
    corpus = resolve(str(write(tmp_path, kind)), "x/y", tmp_path)
    train, held_out = list(corpus.documents("train")), list(corpus.documents("validation"))
    assert sorted(train + held_out) == sorted(STORIES)
    assert 0 < len(held_out) < 30


def test_a_document_never_changes_its_split(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl")
    before = set(PathCorpus(path).documents("validation"))
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + '\n{"text": "One more."}')
    assert before <= set(PathCorpus(path).documents("validation")) | {"One more."}


def test_a_folder_with_both_parts(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n{"text": " "}\n{"text": "b"}')
    (tmp_path / "valid.txt").write_text("c<|endoftext|>d")
    corpus = PathCorpus(tmp_path)
    assert [*corpus.documents("train"), *corpus.documents("validation")] == ["a", "b", "c", "d"]


def test_a_saved_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": STORIES}).save_to_disk(tmp_path / "set")
    corpus = PathCorpus(tmp_path / "set")
    assert len([*corpus.documents("train"), *corpus.documents("validation")]) == 200


def test_identity_follows_the_content(tmp_path: Path) -> None:
    path = write(tmp_path, "txt")
    before = PathCorpus(path).identity()
    assert PathCorpus(path).identity() == before
    path.write_text(path.read_text() + "more")
    assert PathCorpus(path).identity() != before


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n{"story": "b"}')
    with pytest.raises(UserError, match=r"x.jsonl:2.*'text'"):
        list(PathCorpus(tmp_path / "x.jsonl").documents("train"))
    with pytest.raises(UserError, match="no such file"):
        PathCorpus(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no train file"):
        PathCorpus(tmp_path / "empty")


def test_auto_falls_back_to_the_embedded_corpus_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    corpus = resolve("auto", "roneneldan/TinyStories", tmp_path)
    assert corpus.name.startswith("embedded:")
    assert "EMBEDDED" in str(corpus.warning)
    assert "HF_HUB_OFFLINE" in str(corpus.warning)
    with pytest.raises(UserError, match="data.source=hub"):
        resolve("hub", "roneneldan/TinyStories", tmp_path)


def test_a_hub_that_hangs_costs_a_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    import huggingface_hub

    released = threading.Event()
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(
        huggingface_hub, "HfApi", lambda: SimpleNamespace(dataset_info=lambda *a, **k: released.wait(20))
    )
    revision, reason = corpora._hub_revision("x/y", tmp_path, timeout=-1.9)
    released.set()
    assert revision is None
    assert "TimeoutError" in reason


def test_only_what_is_asked_for_is_streamed_and_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = []

    def stream(self: HubCorpus, split: str) -> Iterator[str]:
        for story in STORIES:
            served.append(story)
            yield story

    monkeypatch.setattr(HubCorpus, "_stream", stream)
    corpus = HubCorpus("x/y", "abc", tmp_path)
    assert list(islice(corpus.documents("train"), 5)) == STORIES[:5]
    assert len(served) == 5
    assert list(islice(corpus.documents("train"), 8)) == STORIES[:8]
    monkeypatch.setattr(HubCorpus, "_stream", None)
    assert list(islice(HubCorpus("x/y", "abc", tmp_path).documents("train"), 8)) == STORIES[:8]


def served(monkeypatch: pytest.MonkeyPatch, stories: list[str]) -> None:
    monkeypatch.setattr(HubCorpus, "_stream", lambda self, split: iter(stories))


def test_a_fetch_that_was_killed_in_a_line_goes_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, STORIES)
    corpus = HubCorpus("x/y", "abc", tmp_path)
    assert list(islice(corpus.documents("train"), 5)) == STORIES[:5]
    kept = tmp_path / "train.jsonl"
    kept.write_bytes(kept.read_bytes()[:-7])
    assert list(islice(corpus.documents("train"), 8)) == STORIES[:8]
    assert [json.loads(line)["text"] for line in kept.read_text().splitlines()] == STORIES[:8]


def test_what_is_kept_is_not_the_end_where_the_hub_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, STORIES)
    list(islice(HubCorpus("x/y", "abc", tmp_path).documents("train"), 3))
    kept = HubCorpus("x/y", "abc", tmp_path, offline=True)
    monkeypatch.setattr(corpora, "_hub_revision", lambda *_: (None, "no answer"))
    assert list(kept.documents("train")) == STORIES[:3]
    monkeypatch.setattr(corpora, "_hub_revision", lambda *_: ("abc", ""))
    assert list(islice(kept.documents("train"), 8)) == STORIES[:8]


def test_a_cache_that_can_t_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, STORIES)
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cache/train\.jsonl can't be written"):
        next(HubCorpus("x/y", "abc", tmp_path / "cache").documents("train"))
