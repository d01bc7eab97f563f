"""Packing and the order of batches."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from trajlab.data.corpora import EmbeddedCorpus, PathCorpus
from trajlab.data.packed import PackedWindows, TrainingBatches, pack
from trajlab.data.tokenizer import END_OF_TEXT, end_of_text_id, token_bytes, train_bpe
from trajlab.errors import UserError


@pytest.fixture
def windows() -> PackedWindows:
    return PackedWindows.over(np.arange(101, dtype=np.uint16), context=10)


def test_at_a_stride_of_the_context_every_token_is_a_target_once(windows: PackedWindows) -> None:
    targets = windows.batch(range(len(windows)))[:, 1:]
    assert targets.flatten().tolist() == list(range(1, 101))


def test_overlapping_windows_score_a_token_at_several_positions() -> None:
    windows = PackedWindows.over(np.arange(101, dtype=np.uint16), context=10, stride=2)
    counts = Counter(windows.batch(range(len(windows)))[:, 1:].flatten().tolist())
    assert counts[50] == 5


def test_an_epoch_has_each_window_once_and_orders_differ(windows: PackedWindows) -> None:
    batches = list(islice(TrainingBatches(windows, seed=0, windows_per_step=4), 5))
    first = [int(b[0]) for batch in batches for b in batch]
    assert sorted(first[:10]) == sorted(first[10:]) == list(range(0, 100, 10))
    assert first[:10] != first[10:]


def test_a_later_start_continues_the_same_batches(windows: PackedWindows) -> None:
    whole = list(islice(TrainingBatches(windows, 3, 4), 9))
    rest = list(islice(TrainingBatches(windows, 3, 4, first_step=6), 3))
    assert all(torch.equal(a, b) for a, b in zip(whole[6:], rest, strict=True))


def test_processes_share_each_batch(windows: PackedWindows) -> None:
    whole = next(iter(TrainingBatches(windows, 1, 4)))
    parts = [next(iter(TrainingBatches(windows, 1, 4, rank=r, processes=2))) for r in range(2)]
    assert sorted(torch.cat(parts)[:, 0].tolist()) == sorted(whole[:, 0].tolist())


def test_a_random_offset_cuts_every_epoch_elsewhere_and_scores_all_tokens_but_one(windows: PackedWindows) -> None:
    batches = TrainingBatches(windows, seed=0, windows_per_step=10, random_offset=True)
    epochs = [batch for batch, _ in zip(batches, range(20), strict=False)]
    for epoch in epochs:
        targets = epoch[:, 1:].flatten().tolist()
        assert len(set(targets)) == len(targets) == 100
    firsts = {int(epoch[:, 0].min()) for epoch in epochs} | {int(epoch[:, 0].max()) % 10 for epoch in epochs}
    assert len(firsts) > 5


def test_offsets_are_a_function_of_seed_and_epoch(windows: PackedWindows) -> None:
    whole = list(islice(TrainingBatches(windows, 3, 4, random_offset=True), 9))
    rest = list(islice(TrainingBatches(windows, 3, 4, first_step=6, random_offset=True), 3))
    assert all(torch.equal(a, b) for a, b in zip(whole[6:], rest, strict=True))
    other = next(iter(TrainingBatches(windows, 4, 4, random_offset=True)))
    assert not torch.equal(other, whole[0])


def test_packed_text_decodes_to_its_documents(tmp_path: Path) -> None:
    stories = ["Once upon a time there was a cat.", "Zoë said: “hello”\n\nand left.", "🐸 jumped."]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps({"text": s}) for s in stories))
    corpus = PathCorpus(tmp_path / "train.jsonl", validation_fraction=0.0)
    tokenizer = train_bpe(corpus, 300, 10_000, tmp_path)
    ids = pack(corpus, "train", tokenizer, 10_000, tmp_path)
    text = tokenizer.decode(ids.tolist(), skip_special_tokens=False)
    assert text == END_OF_TEXT.join([*stories, ""])
    assert token_bytes(tokenizer)[ids].sum() == sum(len(s.encode()) for s in stories)
    assert np.flatnonzero(ids == end_of_text_id(tokenizer)).size == 3


def test_an_endless_corpus_is_read_as_far_as_asked(tmp_path: Path) -> None:
    corpus = EmbeddedCorpus()
    tokenizer = train_bpe(corpus, 400, 20_000, tmp_path)
    assert len(pack(corpus, "train", tokenizer, 5_000, tmp_path)) == 5_000


def test_the_tokenizer_never_sees_the_validation_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    corpus = EmbeddedCorpus()
    original = corpus.documents
    monkeypatch.setattr(corpus, "documents", lambda split: asked.append(split) or original(split))
    train_bpe(corpus, 300, 5_000, tmp_path)
    assert set(asked) == {"train"}


def test_a_vocabulary_under_the_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="257"):
        train_bpe(EmbeddedCorpus(), 100, 1_000, tmp_path)
