"""Tokenizers that need no training: the bytes as they are, and a file that exists."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from trajlab.analysis import load_runs
from trajlab.config.groups import TokenizerConfig
from trajlab.data.corpora import PathCorpus
from trajlab.data.packed import PackedWindows, byte_count
from trajlab.data.tokenizer import byte_tokenizer, bytes_behind, end_of_text_id, problems, token_bytes, train_bpe
from trajlab.errors import UserError


def test_bytes_stand_for_themselves() -> None:
    tokenizer = byte_tokenizer()
    text = "Zoë’s 猫\n\x00"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text
    assert (tokenizer.get_vocab_size(), end_of_text_id(tokenizer)) == (257, 0)
    assert token_bytes(tokenizer)[ids].sum() == len(ids)


def test_a_run_takes_bytes_or_a_file(micro: Callable[..., Path], tmp_path: Path) -> None:
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    bytes_ = micro("tokenizer=bytes", "tokenizer.vocab_size=257", runs="bytes")
    existing = ["tokenizer=existing", f"tokenizer.path={tmp_path / 'tokenizer.json'}", "tokenizer.vocab_size=257"]
    file = micro(*existing, runs="file")
    last = "snapshots/tokens=000000001920.safetensors"
    assert (bytes_ / last).read_bytes()[-4000:] == (file / last).read_bytes()[-4000:], "the same weights either way"


def test_a_text_in_one_piece_that_is_held_out_whole_is_told_how_to_divide_it(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("A good day. " * 300)
    corpus = PathCorpus(tmp_path / "text.txt", validation_fraction=1.0)
    with pytest.raises(UserError, match=r"the training split of .*text.txt is empty; .* no <\|endoftext\|> divides it"):
        train_bpe(corpus, 300, 1000, tmp_path)


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    (said,) = problems(TokenizerConfig(path=str(tmp_path / "t.json"), vocab_size=300, train_bytes=1))
    assert "is no tokenizer.json" in said


def test_a_file_with_more_entries_than_the_model_is_refused(tmp_path: Path, micro: Callable[..., Path]) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["the", "and"])
    tokenizer.save(str(tmp_path / "t.json"))
    with pytest.raises(UserError, match="has 259 entries; write tokenizer.vocab_size=259"):
        micro(f"tokenizer.path={tmp_path / 't.json'}", "tokenizer.vocab_size=257", "data.source=no/such")


TEXT = ["Zoë saw a naïve 猫 and a dog.", "The dog ran home.", "A cat, a dog and a cat."] * 3


def trained(model: object, pre_tokenizer: object, decoder: object, trainer: object) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoder
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def metaspace(scheme: str, fallback: bool = True) -> Tokenizer:
    """As SentencePiece: a sign for the space, characters that it lacks as their bytes."""
    hexes = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=["</s>", *hexes], show_progress=False)
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    pre = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer = trained(models.BPE(byte_fallback=fallback), pre, decoder, trainer)
    entries = json.loads(tokenizer.to_str())
    entries["added_tokens"] = [t for t in entries["added_tokens"] if t["content"] == "</s>"]
    return Tokenizer.from_str(json.dumps(entries))


def test_signs_for_spaces_and_bytes_of_rare_characters_count_for_what_they_are() -> None:
    tokenizer = metaspace("never")
    table = token_bytes(tokenizer)
    assert table is not None
    for text in (*TEXT, "Ünknown 犬 🐕  twice"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert table[ids].sum() == len(text.encode())


def word_piece() -> Tokenizer:
    pieces = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", "</s>"], show_progress=False)
    return trained(models.WordPiece(unk_token="[UNK]"), pre_tokenizers.Whitespace(), decoders.WordPiece(), pieces)


def normalised(normalizer: object) -> Tokenizer:
    tokenizer = byte_tokenizer()
    tokenizer.normalizer = normalizer
    return tokenizer


UNTOLD = {
    "a space in front that the text has not": lambda: metaspace("always"),
    "the same, rare characters unknown": lambda: metaspace("always", fallback=False),
    "spaces dropped": word_piece,
    "capitals lowered": lambda: normalised(normalizers.Lowercase()),
    "compatible characters replaced": lambda: normalised(normalizers.NFKC()),
}
"""Tokenizers whose ids alone don't tell how many bytes of text they stand for."""


@pytest.mark.parametrize("name", UNTOLD)
def test_where_an_id_does_not_tell_its_bytes_the_offsets_do(name: str) -> None:
    """Metaspace counted 46 of 52 bytes, WordPiece 65 of 33, byte fallback 17 of 6."""
    tokenizer = UNTOLD[name]()
    assert token_bytes(tokenizer) is None
    for text in (*TEXT[:3], "Ünknown 犬 🐕  twice, ﬁne ", "ends in spaces   "):
        found = tokenizer.encode(text, add_special_tokens=False)
        sizes = bytes_behind(text, found.offsets, len(found.ids))
        assert sizes.sum() == len(text.encode())
        assert (sizes >= 0).all()


def test_bytes_of_a_token_are_those_from_the_token_before_to_its_end() -> None:
    tokenizer, text = word_piece(), "The dog ran home."
    found = tokenizer.encode(text, add_special_tokens=False)
    sizes = bytes_behind(text, found.offsets, len(found.ids))
    ends = np.cumsum(sizes)
    assert [text[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)] == [
        text[a:b].strip() for a, b in found.offsets
    ]
    assert bytes_behind(text, None, 3).tolist() == [0, 0, len(text)]


@pytest.mark.parametrize("name", UNTOLD)
@pytest.mark.parametrize(("context", "stride"), [(4, 4), (5, 2)])
def test_the_bytes_of_windows_are_those_of_their_targets(name: str, context: int, stride: int) -> None:
    tokenizer = UNTOLD[name]()
    corpus = SimpleNamespace(documents=lambda split: iter(TEXT), name="made")
    ids, sizes = [], []
    for text in TEXT:
        found = tokenizer.encode(text, add_special_tokens=False)
        ids += [*found.ids, end_of_text_id(tokenizer)]
        sizes += [*bytes_behind(text, found.offsets, len(found.ids)), 0]
    windows = PackedWindows.over(np.array(ids), context, stride)
    by_hand = sum(sum(sizes[w * stride + 1 : w * stride + context + 1]) for w in range(len(windows)))
    assert byte_count(corpus, "validation", tokenizer, windows) == by_hand  # type: ignore[arg-type]


def test_bits_per_byte_are_those_of_the_text(micro: Callable[..., Path], tmp_path: Path) -> None:
    metaspace("always").save(str(tmp_path / "t.json"))
    sizes = "tokenizer.vocab_size=340", "model.vocab_size=340"
    rows = load_runs(micro("tokenizer=existing", f"tokenizer.path={tmp_path / 't.json'}", *sizes)).intervals
    np.testing.assert_allclose(rows["bits_per_byte"], rows["nll_sum"] / np.log(2) / rows["byte_count"])
    assert (rows["byte_count"] / rows["token_count"]).between(0.9, 4).all()
