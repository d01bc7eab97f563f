"""A limited set of text is a sample of the corpus, not its head."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path

from trajlab.data.corpora import EmbeddedCorpus, PathCorpus
from trajlab.data.sampling import SampledCorpus, sampled


def sorted_corpus(folder: Path, per_origin: int = 100) -> PathCorpus:
    """Four origins one after another, as corpora lie on disks."""
    lines = [json.dumps({"text": f"origin{o} story {i}"}) for o in range(4) for i in range(per_origin)]
    (folder / "train.jsonl").write_text("\n".join(lines))
    return PathCorpus(folder / "train.jsonl", validation_fraction=0.0)


def test_the_first_documents_come_from_all_origins(tmp_path: Path) -> None:
    corpus = sampled(sorted_corpus(tmp_path), 0)
    head = Counter(d.split()[0] for d in islice(corpus.documents("train"), 100))
    assert set(head) == {f"origin{o}" for o in range(4)}
    assert max(head.values()) < 45


def test_it_holds_every_document_once_in_an_order_of_its_seed(tmp_path: Path) -> None:
    plain = sorted_corpus(tmp_path)
    first, again, other = (list(SampledCorpus(plain, seed).documents("train")) for seed in (0, 0, 1))
    assert first == again != other
    assert sorted(first) == sorted(other) == sorted(plain.documents("train"))


def test_the_order_is_the_same_however_little_is_held_in_memory(tmp_path: Path) -> None:
    plain = sorted_corpus(tmp_path)
    assert list(SampledCorpus(plain, 0, chunk_bytes=200).documents("train")) == list(
        SampledCorpus(plain, 0).documents("train")
    )


def test_the_identity_follows_the_seed(tmp_path: Path) -> None:
    plain = sorted_corpus(tmp_path)
    assert len({plain.identity(), SampledCorpus(plain, 0).identity(), SampledCorpus(plain, 1).identity()}) == 3


def test_what_is_random_already_and_what_no_seed_asks_for_stays_as_it_is(tmp_path: Path) -> None:
    embedded, plain = EmbeddedCorpus(), sorted_corpus(tmp_path)
    assert sampled(embedded, 0) is embedded
    assert sampled(plain, None) is plain
