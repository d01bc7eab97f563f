"""Corpora in several files, and corpora that are not what they say: read whole, or refused in one line."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trajlab.data.corpora import PathCorpus
from trajlab.data.packed import _encoded
from trajlab.data.text_files import END_OF_TEXT
from trajlab.data.tokenizer import byte_tokenizer
from trajlab.errors import UserError


def _jsonl(path: Path, *values: object) -> Path:
    path.write_text("".join(json.dumps({"text": v}) + "\n" for v in values))
    return path


def test_all_shards_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for i in (2, 10, 1):
        _jsonl(tmp_path / f"train-{i}.jsonl", f"text {i}")
    _jsonl(tmp_path / "validation-1.jsonl", "held out")
    corpus = PathCorpus(tmp_path)
    assert list(corpus.documents("train")) == ["text 1", "text 2", "text 10"]
    before = corpus.identity()
    _jsonl(tmp_path / "train-10.jsonl", "another")
    assert PathCorpus(tmp_path).identity() != before


def test_parquet_shards_without_a_validation_part_are_split_as_one(tmp_path: Path) -> None:
    for i in range(2):
        pq.write_table(
            pa.table({"text": [f"story {i} {j}" for j in range(50)]}), tmp_path / f"train-0000{i}-of-00002.parquet"
        )
    corpus = PathCorpus(tmp_path, validation_fraction=0.2)
    train, valid = (list(corpus.documents(s)) for s in ("train", "validation"))
    assert len(train) + len(valid) == 100
    assert any(d.startswith("story 1") for d in train)
    assert any(d.startswith("story 1") for d in valid)


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "train-00000-of-00003.parquet")
    with pytest.raises(UserError, match="1 of 3 train files"):
        PathCorpus(tmp_path)


def test_train_files_of_two_kinds_are_refused(tmp_path: Path) -> None:
    _jsonl(tmp_path / "train.jsonl", "a")
    (tmp_path / "train.txt").write_text("a")
    with pytest.raises(UserError, match="several kinds"):
        PathCorpus(tmp_path)


@pytest.mark.parametrize("value", [None, 3, [1, 2], {"a": 1}, "\ud800"])
def test_a_row_that_is_no_text_is_named_by_its_line(value: object, tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "rows.jsonl", "good", value)
    with pytest.raises(UserError, match=r"rows\.jsonl:2"):
        list(PathCorpus(path, validation_fraction=0).documents("train"))


@pytest.mark.parametrize("values", [[1, 2], [None, "a"], [["a"], ["b"]]])
def test_a_row_of_parquet_that_is_no_text_is_named(values: list[object], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": values}), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"rows\.parquet, row 1: 'text' is no text"):
        list(PathCorpus(tmp_path / "rows.parquet").documents("train"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"good \xff\xfe bad", "not in UTF-8"),
        ("a.txt", "A day.".encode("utf-16"), "looks like UTF-16"),
        ("a.jsonl", '{"text": "ä"}'.encode("latin-1"), "not in UTF-8"),
        pytest.param("a.jsonl", b"[" * 100_000, r"a\.jsonl:1: no JSON object", id="nested"),
        pytest.param("a.jsonl", b'{"text": ' + b"9" * 5_000 + b"}", r"a\.jsonl:1: no JSON object", id="long number"),
        ("a.parquet", b"PAR1 and nothing else", "can't be read"),
        ("a.txt", b"x" * 300_000, "without white space"),
    ],
)
def test_broken_bytes_are_told_in_one_line(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as e:
        list(PathCorpus(tmp_path / name).documents("train"))
    assert name in str(e.value)
    assert "\n" not in str(e.value)


def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        PathCorpus(tmp_path / "pipe.txt")


def test_a_long_line_is_encoded_no_further_than_asked_and_as_a_whole_would_be(tmp_path: Path) -> None:
    text = "A day. " * 100_000 + "end"
    (tmp_path / "a.txt").write_text(text + END_OF_TEXT + "next")
    corpus, tokenizer = PathCorpus(tmp_path / "a.txt", validation_fraction=0), byte_tokenizer()
    ids = [int(i) for piece in _encoded(corpus, "train", tokenizer) for i in piece]
    assert ids == [*tokenizer.encode(text).ids, 0, *tokenizer.encode("next").ids, 0]
